/**
 * Random configurations whose flows overlap in every way that the classifier treats apart, and packets at the edges of
 * their conditions, decided twice by the core: with the classifier, and one flow after the other.
 */
import { CLASSIFIER_LIMITS, type ClassifierLimits } from '../../host/core/classifier.js';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import { addressText, type Interval, prefixInterval } from '../../host/types/address.js';
import type { ByteMatch, Flow, PortRange, Prefix, Protocol } from '../../host/types/config.js';
import { Random } from '../../scripts/bench/random.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';

const ARENA_BYTES = 128 * 1024 * 1024;
const BATCHES_A_CONFIGURATION = 48;

/** Few flows take every way with these: small blocks, deep nests, crowds, flows that are filed nowhere. */
const LOW_LIMITS: ClassifierLimits = {
  leastFlows: 1,
  listedFlows: 2,
  listedBounds: 8,
  nested: 3,
  probes: 0,
  crowd: 4,
  lessCrowded: 2,
  copies: 1,
  freeCopies: 20,
  largeBlock: 200,
  largeRowsBytes: 4096,
  smallBlock: 70,
};

export interface Tally {
  pairs: number;
  matched: number;
  /** Refused since a byte statement could not be read. */
  unread: number;
  configurations: number;
  /** Images with flows by source; with flows that are filed nowhere. */
  bySource: number;
  withRest: number;
}

export const NO_TALLY: Tally = {
  pairs: 0,
  matched: 0,
  unread: 0,
  configurations: 0,
  bySource: 0,
  withRest: 0,
};

/** Two decisions of one packet that differ. */
export class Disagreement extends Error {}

/** One process's memory, and what was compared in it. */
export class Comparison {
  private readonly module = compileCore();
  private readonly layout = instantiateCore(this.module, createMemory(1024 * 1024));
  private readonly memory = createMemory(memoryBytes(this.layout, 1, ARENA_BYTES));
  private readonly core = instantiateCore(this.module, this.memory);
  private readonly bytes = new Uint8Array(this.memory.buffer);
  private readonly view = new DataView(this.memory.buffer);
  private readonly area = workerArea(this.core, 0);
  readonly tally: Tally = { ...NO_TALLY };

  /** Compare one configuration, that of `seed`, with its packets. @throws Disagreement */
  async run(seed: number): Promise<void> {
    const random = new Random(seed);
    // One in four with the limits as they are: then it takes many flows.
    const low = !random.chance(4);
    const limits = limitsOf(random, low);
    const shape = shapeOf(random, low);
    const flows = Array.from({ length: shape.flows }, (_, index) => flowOfShape(random, shape, index));
    const images = new ImageStore(this.core, this.memory, 1, limits);
    const { generation } = images.publish(
      configOf({
        streams: [
          streamOf('a', 3, { 1: 5001, 2: 5002 }, 7),
          streamOf('b', 3, { 1: 6001 }, 5),
          streamOf('none', 1, {}, 3),
        ],
        flows,
        promiscuousPing: random.chance(2),
        hashMode: random.chance(2) ? 'five-tuple' : 'sctp-ports',
      }),
    );
    this.count(generation);
    for (let batch = 0; batch < BATCHES_A_CONFIGURATION; batch++) this.batch(random, flows, generation, seed);
  }

  private count(generation: number): void {
    const { Layout } = this.core;
    const word = (at: number) => this.view.getUint32(at, true);
    const classifier = word(this.header(generation) + Layout.HeaderClassifier);
    if (classifier === 0) throw new Error('the image has no classifier');
    this.tally.configurations++;
    if (word(classifier + Layout.ClassifierRest) !== 0) this.tally.withRest++;
    if (word(word(classifier + Layout.ClassifierSources) + Layout.IndexBest) !== 0xffff_ffff)
      this.tally.bySource++;
  }

  private header(generation: number): number {
    return this.core.Region.Headers + (generation & 1) * this.core.Region.HeaderSize;
  }

  private batch(random: Random, flows: readonly Flow[], generation: number, seed: number): void {
    const { Layout, Limit, Region } = this.core;
    const descriptors = this.area + Region.WorkerDescriptors;
    for (let n = 0; n < Limit.Batch; n++) {
      const at = this.area + Region.WorkerPackets + n * Region.PacketSize;
      const { length, wireLength } = writePacket(random, random.pick(flows), this.bytes, at);
      const descriptor = descriptors + n * Region.DescriptorSize;
      this.view.setUint32(descriptor + Layout.DescriptorOffset, at, true);
      this.view.setUint32(descriptor + Layout.DescriptorLength, length, true);
      this.view.setUint32(descriptor + Layout.DescriptorWireLength, wireLength, true);
    }
    const found = this.decide(descriptors);
    const classifier = this.header(generation) + Layout.HeaderClassifier;
    const address = this.view.getUint32(classifier, true);
    this.view.setUint32(classifier, 0, true);
    const expected = this.decide(descriptors);
    this.view.setUint32(classifier, address, true);
    if (Buffer.compare(found, expected) !== 0) throw new Disagreement(this.difference(found, expected, seed));
    this.weigh(expected);
  }

  private decide(descriptors: number): Buffer {
    const { Limit, Region } = this.core;
    this.core.decide(this.area, 0, Limit.Batch);
    this.core.rest(this.area);
    return Buffer.from(this.bytes.slice(descriptors, descriptors + Limit.Batch * Region.DescriptorSize));
  }

  private weigh(descriptors: Buffer): void {
    const { Layout, Limit, Reason, Region } = this.core;
    for (let n = 0; n < Limit.Batch; n++) {
      const at = n * Region.DescriptorSize;
      const reason = descriptors.readUInt32LE(at + Layout.DescriptorReason);
      this.tally.pairs++;
      if (descriptors.readUInt32LE(at + Layout.DescriptorFlow) !== 0xffff_ffff) this.tally.matched++;
      const captured = descriptors.readUInt32LE(at + Layout.DescriptorLength);
      const cut = captured < descriptors.readUInt32LE(at + Layout.DescriptorWireLength);
      if (reason === Reason.Truncated && cut) this.tally.unread++;
    }
  }

  private difference(found: Buffer, expected: Buffer, seed: number): string {
    const { Layout, Region } = this.core;
    const at = found.findIndex((byte, place) => byte !== expected[place]);
    const n = Math.floor(at / Region.DescriptorSize);
    const packet = this.area + Region.WorkerPackets + n * Region.PacketSize;
    const word = (descriptors: Buffer, offset: number) =>
      descriptors.readUInt32LE(n * Region.DescriptorSize + offset) | 0;
    const told = (descriptors: Buffer) =>
      `flow ${word(descriptors, Layout.DescriptorFlow)}, reason ${word(descriptors, Layout.DescriptorReason)}`;
    const length = word(found, Layout.DescriptorLength);
    return (
      `configuration ${seed}, packet ${Buffer.from(this.bytes.slice(packet, packet + length)).toString('hex')}: ` +
      `the classifier says ${told(found)}; one by one it is ${told(expected)}`
    );
  }
}

/** Where many are low, some are not: else nearly all flows would be filed nowhere. */
function limitsOf(random: Random, low: boolean): ClassifierLimits {
  const kept = (Object.keys(LOW_LIMITS) as (keyof ClassifierLimits)[]).filter(() => !low || random.chance(2));
  const limits = { ...LOW_LIMITS, ...Object.fromEntries(kept.map(name => [name, CLASSIFIER_LIMITS[name]])) };
  return { ...limits, leastFlows: 1, probes: random.pick([0, 1, CLASSIFIER_LIMITS.probes]) };
}

/** Of what the flows of one configuration are made. */
interface Shape {
  readonly flows: number;
  readonly destinations: readonly Prefix[];
  readonly sources: readonly Prefix[];
  /** Most prefixes of a flow. */
  readonly mostDestinations: number;
  readonly mostSources: number;
  readonly ports: readonly number[];
  readonly mostRanges: number;
  /** One in so many flows has byte statements. */
  readonly byteMatches: number;
  readonly priorities: number;
}

function shapeOf(random: Random, low: boolean): Shape {
  const flows = random.pick(low ? [1, 2, 3, 5, 8, 12, 20, 40, 80, 150, 300] : [8, 20, 60, 200, 600, 1200]);
  const many = random.chance(8);
  return {
    flows: !low && random.chance(12) ? 5000 : flows,
    destinations: prefixesOf(random, random.pick([1, 2, 4, 10, 40, 300])),
    sources: prefixesOf(random, random.pick([1, 2, 6, 30, 300])),
    mostDestinations: many ? 40 : random.pick([0, 1, 1, 2, 4]),
    mostSources: many ? 40 : random.pick([0, 0, 1, 2, 4]),
    ports: random.list(1, 12, () => portOf(random)),
    mostRanges: random.pick([0, 1, 2, 6]),
    byteMatches: random.pick([1, 3, 10, 1_000_000]),
    priorities: random.pick([1, 2, 5, 1_000_000]),
  };
}

/** Of the line, and of IPv4's part of it. */
const MAPPED_FIRST = 0xffff_0000_0000n;
const MAPPED_LAST = 0xffff_ffff_ffffn;
const LINE_LAST = (1n << 128n) - 1n;
const EDGES = [0n, MAPPED_FIRST - 1n, MAPPED_FIRST, MAPPED_LAST, MAPPED_LAST + 1n, LINE_LAST];

/** Prefixes of few addresses near one another, at the ends of both families, and of mapped ones written as IPv6. */
function prefixesOf(random: Random, count: number): Prefix[] {
  const seeds = [
    ...EDGES,
    MAPPED_FIRST | 0x1400_0001n,
    MAPPED_FIRST | 0x1400_0100n,
    MAPPED_FIRST | BigInt(random.word()),
    (0x2000n << 112n) | 1n,
    (0x2001_0db8n << 96n) | BigInt(random.word()),
    random.address(),
  ];
  const near = random.list(1, 4, () => random.pick(seeds));
  return Array.from({ length: count }, () => {
    const beside = (random.pick(near) + BigInt(random.below(random.pick([1, 4, 300])))) & LINE_LAST;
    const number = random.chance(4) ? random.pick(EDGES) : beside;
    const lengths = [0, 1, 63, 64, 65, 95, 96, 97, 104, 112, 120, 126, 127, 128, 128, 128];
    const length = random.chance(3) ? random.below(129) : random.pick(lengths);
    return prefixOf(number, length, random);
  });
}

/** The prefix of `length` bits; in IPv4's text where that can say it, mostly. */
function prefixOf(number: bigint, length: number, random: Random): Prefix {
  const bytes = Uint8Array.from({ length: 16 }, (_, n) => Number((number >> BigInt(8 * (15 - n))) & 0xffn));
  const mapped = number >> 32n === 0xffffn;
  if (mapped && length >= 96 && !random.chance(4))
    return { family: 4, address: addressText(bytes), length: length - 96 };
  const groups = Array.from({ length: 8 }, (_, n) => ((bytes[2 * n]! << 8) | bytes[2 * n + 1]!).toString(16));
  return { family: 6, address: groups.join(':'), length };
}

function portOf(random: Random): number {
  return random.chance(2)
    ? 1 + random.below(65535)
    : random.pick([1, 2, 79, 80, 81, 443, 9899, 65534, 65535]);
}

function rangeOf(random: Random, ports: readonly number[]): PortRange {
  const first = random.pick(ports);
  const last = random.chance(2)
    ? first
    : Math.min(65535, first + random.below(random.pick([2, 3, 100, 65535])));
  return { first, last };
}

const HEADER_BYTES: Readonly<Record<Protocol, number>> = { tcp: 20, udp: 8, sctp: 12 };

function byteMatchOf(random: Random): ByteMatch {
  const protocol = random.pick(['tcp', 'udp', 'sctp'] as const);
  const width = random.pick([1, 2, 4] as const);
  const mask = random.pick([1, 3, 0xffffffff]);
  return {
    text: '',
    protocol,
    width,
    offset: random.below(HEADER_BYTES[protocol] - width + 1),
    mask,
    value: (random.below(4) & mask) >>> 0,
  };
}

function flowOfShape(random: Random, shape: Shape, index: number): Flow {
  const protocols = random.pick<Protocol[]>([
    [],
    [],
    ['tcp'],
    ['udp'],
    ['sctp'],
    ['tcp', 'udp'],
    ['sctp', 'tcp'],
  ]);
  // In one flow of eight a condition is absent that the others have.
  const most = (count: number) => (random.chance(8) ? 0 : count);
  const least = (count: number) => (count === 0 || random.chance(4) ? 0 : 1);
  const list = <Value>(count: number, make: () => Value) =>
    random.list(Math.min(count, least(count)), count, make);
  return flowOf(`f${index}`, random.pick(['a', 'b', 'a', 'b', 'none']), {
    priority: random.below(shape.priorities),
    protocols,
    vips: list(most(shape.mostDestinations), () => random.pick(shape.destinations)),
    sourceSubnets: list(most(shape.mostSources), () => random.pick(shape.sources)),
    destinationPortRanges: list(most(shape.mostRanges), () => rangeOf(random, shape.ports)),
    sourcePortRanges: random.chance(2)
      ? []
      : list(most(shape.mostRanges), () => rangeOf(random, shape.ports)),
    byteMatches: random.chance(shape.byteMatches) ? random.list(1, 2, () => byteMatchOf(random)) : [],
    udpEncapPort:
      protocols.join() === 'sctp' && random.chance(2) ? random.pick([9899, random.pick(shape.ports)]) : null,
  });
}

const intervals = new WeakMap<readonly Prefix[], Interval[]>();

/** Its addresses on the line where IPv4 is ::ffff:a.b.c.d. */
function onLine(prefix: Prefix): Interval {
  const { first, last } = prefixInterval(prefix);
  return prefix.family === 4 ? { first: MAPPED_FIRST | first, last: MAPPED_FIRST | last } : { first, last };
}

/** An address at an edge of one of the prefixes, inside it or beside it. */
function aimedAddress(random: Random, prefixes: readonly Prefix[]): bigint {
  if (prefixes.length === 0 || random.chance(12)) {
    return random.chance(2) ? MAPPED_FIRST | BigInt(random.word()) : random.address();
  }
  let aims = intervals.get(prefixes);
  if (aims === undefined) {
    aims = prefixes.map(onLine);
    intervals.set(prefixes, aims);
  }
  const { first, last } = random.pick(aims);
  switch (random.below(10)) {
    case 0:
      return (first - 1n) & LINE_LAST;
    case 1:
      return (last + 1n) & LINE_LAST;
    case 2:
    case 3:
      return last;
    case 4:
    case 5:
      return first;
    default:
      return first + (random.address() & (last - first));
  }
}

function aimedPort(random: Random, ranges: readonly PortRange[]): number {
  if (ranges.length === 0 || random.chance(12)) return random.pick([0, 1, 80, 65535, random.below(65536)]);
  const { first, last } = random.pick(ranges);
  const inside = first + random.below(last - first + 1);
  return random.pick([first, last, inside, inside, first - 1, last + 1]) & 0xffff;
}

const NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** A packet aimed at the flow, at `at`. IPv4 addresses go by IPv4, and sometimes as IPv6 literally. */
function writePacket(
  random: Random,
  flow: Flow,
  bytes: Uint8Array,
  at: number,
): { length: number; wireLength: number } {
  const source = aimedAddress(random, flow.sourceSubnets);
  const destination = aimedAddress(random, flow.vips);
  const version = source >> 32n === 0xffffn && destination >> 32n === 0xffffn && !random.chance(6) ? 4 : 6;
  const headerBytes = version === 4 ? 20 : 40;
  const body = at + headerBytes;
  bytes.fill(0, at, body + 64);
  const chosen =
    flow.protocols.length === 0 || random.chance(6)
      ? random.pick(['tcp', 'udp', 'sctp'] as const)
      : random.pick(flow.protocols);
  let protocol = NUMBERS[chosen];
  let length = headerBytes + 20 + random.below(20);
  if (random.chance(12)) {
    protocol = version === 4 ? 1 : 58;
    bytes[body] = version === 4 ? random.pick([8, 0, 13]) : random.pick([128, 129, 134]);
  } else if (random.chance(20)) {
    protocol = random.pick([47, 50, 89, 2]);
  } else {
    for (let n = 0; n < 20; n++) bytes[body + n] = random.below(4);
    writePorts(
      bytes,
      body,
      aimedPort(random, flow.sourcePortRanges),
      aimedPort(random, flow.destinationPortRanges),
    );
    if (flow.udpEncapPort !== null && random.chance(2)) {
      protocol = NUMBERS.udp;
      length += 8;
      bytes.copyWithin(body + 8, body, body + 20);
      writePorts(bytes, body, aimedPort(random, []), flow.udpEncapPort);
    }
    if (random.chance(6)) length = headerBytes + random.below(30);
  }
  bytes[at] = version === 4 ? 0x45 : 0x60;
  if (version === 4) {
    bytes[at + 2] = length >> 8;
    bytes[at + 3] = length & 255;
    bytes[at + 9] = protocol;
    writeNumber(bytes, at + 12, source, 4);
    writeNumber(bytes, at + 16, destination, 4);
  } else {
    bytes[at + 5] = length - 40;
    bytes[at + 6] = protocol;
    writeNumber(bytes, at + 8, source, 16);
    writeNumber(bytes, at + 24, destination, 16);
  }
  // Some were cut short by whoever captured them: bytes are on the wire and not here.
  const captured = random.chance(8) ? Math.min(length, headerBytes + 4 + random.below(20)) : length;
  return { length: captured, wireLength: length };
}

function writePorts(bytes: Uint8Array, at: number, source: number, destination: number): void {
  bytes[at] = source >> 8;
  bytes[at + 1] = source & 255;
  bytes[at + 2] = destination >> 8;
  bytes[at + 3] = destination & 255;
}

function writeNumber(bytes: Uint8Array, at: number, value: bigint, count: number): void {
  let low = value;
  for (let n = count - 4; n >= 0; n -= 4) {
    const word = Number(low & 0xffff_ffffn);
    bytes[at + n] = word >>> 24;
    bytes[at + n + 1] = (word >>> 16) & 255;
    bytes[at + n + 2] = (word >>> 8) & 255;
    bytes[at + n + 3] = word & 255;
    low >>= 32n;
  }
}
