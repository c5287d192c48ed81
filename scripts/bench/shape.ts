/** Kinds of configurations, and for each flow a packet that is meant for it. Addresses are numbers, IPv4 without its prefix. */
import type { ByteMatch, Family, Flow, PortRange, Prefix } from '../../host/types/config.js';
import type { Random } from './random.js';

/** TCP without payload. */
export interface Packet {
  readonly source: bigint;
  readonly destination: bigint;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Window of the TCP header, for byte statements. */
  readonly window: number;
}

type Conditions = Pick<
  Flow,
  'priority' | 'vips' | 'sourceSubnets' | 'destinationPortRanges' | 'sourcePortRanges' | 'byteMatches'
>;

export interface Shape {
  readonly name: string;
  /** For people, one line. */
  readonly about: string;
  readonly flow: (index: number, flows: number, random: Random) => Conditions;
  /** The packet for a flow; another flow with a better place may take it. */
  readonly packet: (flow: Conditions, random: Random) => Packet;
}

const ALL_PORTS: PortRange = { first: 1, last: 65535 };
/** 20.0.0.0 and 2000::, where the VIPs are; 10.0.0.0 and 2001:db8::, where the clients are. */
const VIPS: Readonly<Record<Family, bigint>> = { 4: 0x14000000n, 6: 0x2000n << 112n };
const CLIENTS: Readonly<Record<Family, bigint>> = { 4: 0x0a000000n, 6: 0x20010db8n << 96n };
const BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

function prefix(family: Family, number: bigint, length: number): Prefix {
  const hosts = BigInt(BITS[family] - length);
  return { family, address: addressText(family, (number >> hosts) << hosts), length };
}

function addressText(family: Family, number: bigint): string {
  const groups = (count: number, bits: bigint) =>
    Array.from({ length: count }, (_, n) => (number >> (bits * BigInt(count - 1 - n))) & ((1n << bits) - 1n));
  return family === 4
    ? groups(4, 8n).join('.')
    : groups(8, 16n)
        .map(group => group.toString(16))
        .join(':');
}

function addressNumber({ family, address }: Prefix): bigint {
  const parts = address.split(family === 4 ? '.' : ':');
  return parts.reduce(
    (sum, part) => (sum << (family === 4 ? 8n : 16n)) | BigInt(family === 4 ? part : `0x${part}`),
    0n,
  );
}

/** An address of the prefix; of any if there is none. */
function inside(family: Family, prefixes: readonly Prefix[], otherwise: bigint, random: Random): bigint {
  const chosen = prefixes.length === 0 ? null : random.pick(prefixes);
  if (chosen === null) return otherwise + BigInt(random.below(0x10000));
  const hosts = (1n << BigInt(BITS[family] - chosen.length)) - 1n;
  return addressNumber(chosen) | (BigInt(random.word()) & hosts);
}

function within(ranges: readonly PortRange[], otherwise: number, random: Random): number {
  const range = ranges.length === 0 ? null : random.pick(ranges);
  return range === null ? otherwise : range.first + random.below(range.last - range.first + 1);
}

function aimed(family: Family) {
  return (flow: Conditions, random: Random): Packet => ({
    source: inside(family, flow.sourceSubnets, CLIENTS[family], random),
    destination: inside(family, flow.vips, VIPS[family], random),
    sourcePort: within(flow.sourcePortRanges, 1024 + random.below(60_000), random),
    destinationPort: within(flow.destinationPortRanges, 1 + random.below(65_535), random),
    window: 0,
  });
}

const NO_CONDITIONS: Conditions = {
  priority: 1,
  vips: [],
  sourceSubnets: [],
  destinationPortRanges: [],
  sourcePortRanges: [],
  byteMatches: [],
};

function rangeOf(random: Random, widest: number): PortRange {
  const first = 1 + random.below(65_000);
  return { first, last: Math.min(65_535, first + random.below(widest)) };
}

/** Each for port 4000 of a VIP of its own. */
function distinct(family: Family): Shape {
  return {
    name: `distinct IPv${family}`,
    about: 'a VIP each, one port',
    flow: index => ({
      ...NO_CONDITIONS,
      vips: [prefix(family, VIPS[family] + BigInt(index + 1), BITS[family])],
      destinationPortRanges: [{ first: 4000, last: 4000 }],
    }),
    packet: aimed(family),
  };
}

export const ONE_FLOW: Readonly<Record<Family, Shape>> = { 4: distinct(4), 6: distinct(6) };

const ranges: Shape = {
  name: 'ranges',
  about: '16 VIPs, port ranges of up to 300 that overlap, source ports for every fourth, three priorities',
  flow: (index, _, random) => ({
    ...NO_CONDITIONS,
    priority: random.below(3),
    vips: [prefix(4, VIPS[4] + BigInt(index % 16), 32)],
    destinationPortRanges: [rangeOf(random, 300)],
    sourcePortRanges: index % 4 === 0 ? [{ first: 1024, last: 65_535 }] : [],
  }),
  packet: aimed(4),
};

const cidrs: Shape = {
  name: 'CIDRs',
  about:
    'destinations of 12 to 32 bits that hold one another, sources of 8 to 28 for half of them; one in 20 has a low priority and all ports',
  flow: (_, __, random) => {
    const wide = random.chance(20);
    const destination = VIPS[4] + BigInt(random.below(0x100000));
    const source = CLIENTS[4] + BigInt(random.below(0x1000000));
    return {
      ...NO_CONDITIONS,
      priority: wide ? 0 : 1,
      vips: [prefix(4, destination, wide ? random.pick([8, 12]) : random.pick([12, 16, 20, 24, 28, 32, 32]))],
      sourceSubnets: random.chance(2) ? [] : [prefix(4, source, random.pick([8, 16, 24, 28]))],
      destinationPortRanges: wide ? [] : [rangeOf(random, 1000)],
    };
  },
  packet: aimed(4),
};

const wildcards: Shape = {
  name: 'wildcards',
  about:
    'half of them for every destination with a source of 16 to 24 bits and a range of ports, half for one of 64 VIPs; random priorities',
  flow: (_, __, random) => {
    const any = random.chance(2);
    return {
      ...NO_CONDITIONS,
      priority: random.below(1000),
      vips: any ? [] : [prefix(4, VIPS[4] + BigInt(random.below(64)), 32)],
      sourceSubnets: any
        ? [prefix(4, CLIENTS[4] + BigInt(random.below(0x1000000)), random.pick([16, 20, 24]))]
        : [],
      destinationPortRanges: [rangeOf(random, 2000)],
    };
  },
  packet: aimed(4),
};

const sources: Shape = {
  name: 'sources',
  about: 'one VIP and port, a source of 24 to 32 bits each',
  flow: (_, __, random) => ({
    ...NO_CONDITIONS,
    vips: [prefix(4, VIPS[4], 32)],
    sourceSubnets: [prefix(4, CLIENTS[4] + BigInt(random.below(0x1000000)), random.pick([24, 28, 32]))],
    destinationPortRanges: [{ first: 4000, last: 4000 }],
  }),
  packet: aimed(4),
};

const crowd: Shape = {
  name: 'crowd',
  about: 'one VIP, port ranges of up to 300 that overlap',
  flow: (_, __, random) => ({
    ...NO_CONDITIONS,
    vips: [prefix(4, VIPS[4], 32)],
    destinationPortRanges: [rangeOf(random, 300)],
  }),
  packet: aimed(4),
};

/** What no row of bits can skip: in each word some flows take the packet's port, others its source, none both, but the last one. */
const adversary: Shape = {
  name: 'adversary',
  about:
    'eight nested destinations; the flows of each disagree with the packet in turn by its port or its source, so that no word is skipped; the last flow of all takes it',
  flow: (index, flows) => {
    const byPort = index % 2 === 0;
    const last = index === flows - 1;
    return {
      ...NO_CONDITIONS,
      vips: [prefix(4, VIPS[4], 32 - (index % 8))],
      sourceSubnets: [
        prefix(4, last || !byPort ? CLIENTS[4] : CLIENTS[4] + (1n << 24n) * BigInt(1 + (index % 3)), 8),
      ],
      destinationPortRanges: [
        last || byPort ? ALL_PORTS : { first: 1 + (index % 20_000), last: 30_000 + (index % 7) },
      ],
    };
  },
  packet: (_, random) => ({
    source: CLIENTS[4] + BigInt(random.below(0x1000000)),
    destination: VIPS[4],
    sourcePort: 1024 + random.below(60_000),
    destinationPort: 40_000 + random.below(20_000),
    window: 0,
  }),
};

/** Rows of so many parts that blocks must be small: each of the 20 of 10,000 flows costs its own searches. */
const parts: Shape = {
  name: 'many parts',
  about:
    'one destination, 20 ranges of ports and 20 sources of 24 bits each, of which the packet has its port in most and its source in none; the last flow takes it',
  flow: (index, flows, random) => ({
    ...NO_CONDITIONS,
    vips: [prefix(4, VIPS[4], 32)],
    sourceSubnets:
      index === flows - 1
        ? [prefix(4, CLIENTS[4], 8)]
        : Array.from({ length: 20 }, () => prefix(4, 0x0b000000n + BigInt(random.below(1 << 20) * 256), 24)),
    destinationPortRanges: Array.from({ length: 20 }, (_, n) => ({
      first: 1 + n * 3000 + random.below(200),
      last: 2800 + n * 3000 + random.below(200),
    })),
  }),
  packet: aimed(4),
};

export const BYTE_STATEMENTS = 'byte match';

const byteStatements: Shape = {
  name: BYTE_STATEMENTS,
  about: 'one VIP and port, told apart by a statement about two bytes each',
  flow: index => ({
    ...NO_CONDITIONS,
    vips: [prefix(4, VIPS[4], 32)],
    destinationPortRanges: [{ first: 4000, last: 4000 }],
    byteMatches: [windowIs(index)],
  }),
  packet: (flow, random) => ({ ...aimed(4)(flow, random), window: flow.byteMatches[0]!.value }),
};

function windowIs(value: number): ByteMatch {
  return { text: `tcp[14:2] = ${value}`, protocol: 'tcp', offset: 14, width: 2, mask: 0xffffffff, value };
}

export interface Case {
  readonly shape: Shape;
  readonly family: Family;
  readonly flows: number;
  /** Greatest ratio to one flow in C that is aimed at; null: measured only. */
  readonly target: number | null;
}

/** By the number of flows. */
const TARGETS: Readonly<Record<number, number>> = { 1: 2, 100: 3, 1000: 3, 10000: 5 };

export const CASES: readonly Case[] = [
  ...([4, 6] as const).flatMap(family =>
    [1, 100, 1000, 10000].map(flows => ({ shape: ONE_FLOW[family], family, flows })),
  ),
  ...[ranges, cidrs, wildcards, sources, crowd].flatMap(shape =>
    [1000, 10000].map(flows => ({ shape, family: 4 as const, flows })),
  ),
]
  .map((each): Case => ({ ...each, target: TARGETS[each.flows]! }))
  .concat(
    [100, 1000, 10000].map(flows => ({ shape: adversary, family: 4, flows, target: null })),
    [1000, 10000].map(flows => ({ shape: parts, family: 4, flows, target: null })),
    [10, 100].map(flows => ({ shape: byteStatements, family: 4, flows, target: null })),
  );

/** What is built at 100,000 flows too. */
export const BUILT: readonly Shape[] = [ONE_FLOW[4], ranges, cidrs, wildcards, sources, crowd, adversary];
