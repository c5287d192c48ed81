/**
 * Random packets, described by plain numbers and aimed at the flows of a configuration when they are rendered: so that
 * most packets stand at an edge of something, and fast-check can make a failing one smaller.
 */
import fc from 'fast-check';
import type { Config, Flow, PortRange, Prefix } from '../../host/types/config.js';
import { addressNumber } from '../reference/flow.js';

/** Where a number comes from: an edge of one of the flow's conditions, or itself. */
interface Aim {
  readonly random: boolean;
  /** Which of the conditions. */
  readonly pick: number;
  /** Before its first, its first, its last, behind its last, or something inside. */
  readonly edge: number;
  readonly value: number;
}

interface PortsSpec {
  readonly source: Aim;
  readonly destination: Aim;
}

type BodySpec =
  | {
      readonly kind: 'transport';
      readonly protocol: number;
      readonly ports: PortsSpec;
      readonly obey: boolean;
    }
  | {
      readonly kind: 'encapsulated';
      readonly outer: PortsSpec;
      readonly inner: PortsSpec;
      readonly obey: boolean;
    }
  | { readonly kind: 'message'; readonly type: number; readonly id: number }
  | { readonly kind: 'error'; readonly type: number; readonly inner: PacketSpec }
  | { readonly kind: 'other'; readonly protocol: number };

interface ExtensionSpec {
  readonly protocol: number;
  readonly words: number;
  /** Added to the length that the header states. */
  readonly lie: number;
}

export interface PacketSpec {
  readonly version: 4 | 6;
  /** The flow that it is aimed at. */
  readonly flow: number;
  readonly source: Aim;
  readonly destination: Aim;
  readonly body: BodySpec;
  readonly payload: number;
  /** Words of IPv4 options. */
  readonly options: number;
  readonly extensions: readonly ExtensionSpec[];
  readonly fragment: 'whole' | 'atomic' | 'first' | 'later';
  /** Added to the length that the IP header states. */
  readonly lie: number;
  /** Bytes behind the packet. */
  readonly padding: number;
}

/** What happens to the bytes of a packet on its way. */
export interface Damage {
  /** Length to cut to. */
  readonly cut: number | null;
  /** Bytes overwritten, by place. */
  readonly bytes: readonly (readonly [place: number, value: number])[];
  /** Bytes that were on the wire behind those that are there. */
  readonly uncaptured: number;
}

const IPV4_ERRORS = [3, 4, 5, 11, 12];
const IPV6_ERRORS = [1, 2, 3, 4];

const aim: fc.Arbitrary<Aim> = fc
  .tuple(fc.nat(3), fc.nat(7), fc.nat(9), fc.nat(0xffffffff))
  .map(([random, pick, edge, value]) => ({ random: random === 3, pick, edge, value }));

const ports: fc.Arbitrary<PortsSpec> = fc.record({ source: aim, destination: aim });

const transportBody: fc.Arbitrary<BodySpec> = fc.record({
  kind: fc.constant('transport' as const),
  protocol: fc.constantFrom(6, 17, 132),
  ports,
  obey: fc.boolean(),
});

const plainBody: fc.Arbitrary<BodySpec> = fc.oneof(
  { weight: 6, arbitrary: transportBody },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('encapsulated' as const),
      outer: ports,
      inner: ports,
      obey: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('message' as const),
      type: fc.oneof(fc.constantFrom(0, 8, 128, 129, 13, 134), fc.nat(255)),
      id: fc.nat(0xffff),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('other' as const),
      protocol: fc.oneof(fc.constantFrom(1, 2, 4, 41, 47, 50, 51, 58, 59, 89, 255), fc.nat(255)),
    }),
  },
);

const errorBody = (depth: number): fc.Arbitrary<BodySpec> =>
  fc.record({
    kind: fc.constant('error' as const),
    type: fc.nat(4),
    inner: packetSpec(depth - 1),
  });

const extension: fc.Arbitrary<ExtensionSpec> = fc.record({
  protocol: fc.constantFrom(0, 43, 44, 51, 60, 135, 139, 140),
  words: fc.oneof({ weight: 8, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.constantFrom(30, 58, 62) }),
  lie: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(255) }),
});

/** A packet, at most `depth` errors deep. */
export function packetSpec(depth: number): fc.Arbitrary<PacketSpec> {
  return fc.record({
    version: fc.constantFrom(4 as const, 6 as const),
    flow: fc.nat(11),
    source: aim,
    destination: aim,
    body:
      depth === 0
        ? plainBody
        : fc.oneof({ weight: 3, arbitrary: plainBody }, { weight: 1, arbitrary: errorBody(depth) }),
    payload: fc.oneof({ weight: 4, arbitrary: fc.constant(20) }, { weight: 2, arbitrary: fc.nat(24) }),
    options: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(10) }),
    extensions: fc.oneof(
      { weight: 12, arbitrary: fc.constant<ExtensionSpec[]>([]) },
      { weight: 5, arbitrary: fc.array(extension, { maxLength: 3 }) },
      { weight: 1, arbitrary: fc.array(extension, { minLength: 15, maxLength: 18 }) },
    ),
    fragment: fc.constantFrom(
      'whole',
      'whole',
      'whole',
      'whole',
      'whole',
      'whole',
      'atomic',
      'first',
      'later',
    ),
    lie: fc.oneof(
      { weight: 24, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: -60, max: 60 }) },
    ),
    padding: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(40) }),
  });
}

export const damage: fc.Arbitrary<Damage> = fc.record({
  cut: fc.oneof({ weight: 6, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat(120) }),
  bytes: fc.oneof(
    { weight: 6, arbitrary: fc.constant<[number, number][]>([]) },
    { weight: 1, arbitrary: fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { minLength: 1, maxLength: 3 }) },
  ),
  uncaptured: fc.oneof(
    { weight: 12, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constantFrom(1, 40, 70_000) },
  ),
});

/** The bytes of `spec`, aimed at the flows of `config`, and damaged. */
export function render(
  spec: PacketSpec,
  config: Config,
  { cut, bytes, uncaptured }: Damage,
): { packet: Uint8Array; wireLength: number } {
  const whole = ipPacket(spec, config, false);
  const packet = Uint8Array.from(cut === null ? whole : whole.slice(0, cut));
  for (const [place, value] of bytes) if (place < packet.length) packet[place] = value;
  return { packet, wireLength: packet.length + uncaptured };
}

function ipPacket(spec: PacketSpec, config: Config, inner: boolean): number[] {
  const flow = config.flows[spec.flow % config.flows.length]!;
  const bytes = spec.version === 4 ? 4 : 16;
  // What an error carries was sent by the VIP: its key is swapped.
  const [fromPrefixes, toPrefixes] = inner
    ? [flow.vips, flow.sourceSubnets]
    : [flow.sourceSubnets, flow.vips];
  const from = bytesOf(aimedAddress(spec.source, fromPrefixes), 16).slice(16 - bytes);
  const to = bytesOf(aimedAddress(spec.destination, toPrefixes), 16).slice(16 - bytes);
  const { protocol, content } = bodyBytes(spec, flow, config, inner);
  const padding = new Array<number>(spec.padding).fill(0xee);

  if (spec.version === 4) {
    const headerBytes = 20 + 4 * spec.options;
    const fragment = { whole: 0, atomic: 0x4000, first: 0x2000, later: 0x2007 }[spec.fragment];
    return [
      0x40 | (headerBytes / 4),
      0,
      ...be16(headerBytes + content.length + spec.lie),
      ...[0x12, 0x34],
      ...be16(fragment),
      ...[64, protocol, 0, 0],
      ...from,
      ...to,
      ...new Array<number>(4 * spec.options).fill(1),
      ...content,
      ...padding,
    ];
  }
  const chain = extensionHeaders(spec, protocol);
  return [
    ...[0x60, 0, 0, 0],
    ...be16(chain.bytes.length + content.length + spec.lie),
    ...[chain.first, 64],
    ...from,
    ...to,
    ...chain.bytes,
    ...content,
    ...padding,
  ];
}

function extensionHeaders(spec: PacketSpec, protocol: number): { first: number; bytes: number[] } {
  const fragments = spec.fragment === 'whole' ? [] : [{ protocol: 44, words: 0, lie: 0 }];
  const headers = [...spec.extensions, ...fragments];
  const bytes = headers.flatMap(({ protocol: kind, words, lie }, index) => {
    const next = headers[index + 1]?.protocol ?? protocol;
    if (kind === 44) {
      const offset = { whole: 0, atomic: 0, first: 1, later: 0x0039 }[spec.fragment];
      return [next, lie, ...be16(offset), 0x12, 0x34, 0x56, 0x78];
    }
    // An authentication header counts in words of 4 bytes, less two.
    const stated = kind === 51 ? 2 * words : words;
    return [next, (stated + lie) & 255, ...new Array<number>(8 * (words + 1) - 2).fill(kind)];
  });
  return { first: headers[0]?.protocol ?? protocol, bytes };
}

function bodyBytes(
  spec: PacketSpec,
  flow: Flow,
  config: Config,
  inner: boolean,
): { protocol: number; content: number[] } {
  const { body } = spec;
  const payload = Array.from({ length: spec.payload }, (_, n) => (n * 37) & 255);
  switch (body.kind) {
    case 'transport':
      return { protocol: body.protocol, content: transport(body, flow, inner, payload) };
    case 'encapsulated': {
      const sctp = transport({ protocol: 132, ports: body.inner, obey: body.obey }, flow, inner, payload);
      const port =
        flow.udpEncapPort ?? config.flows.find(each => each.udpEncapPort !== null)?.udpEncapPort ?? 9899;
      const aimed = be16(body.outer.destination.random ? aimedPort(body.outer.destination, []) : port);
      const other = be16(aimedPort(body.outer.source, []));
      return {
        protocol: 17,
        content: [
          ...(inner ? [...aimed, ...other] : [...other, ...aimed]),
          ...be16(8 + sctp.length),
          0,
          0,
          ...sctp,
        ],
      };
    }
    case 'message':
      return {
        protocol: spec.version === 4 ? 1 : 58,
        content: [body.type, 0, 0, 0, ...be16(body.id), 0, 1, ...payload],
      };
    case 'error': {
      const types = spec.version === 4 ? IPV4_ERRORS : IPV6_ERRORS;
      // The packet inside mostly has the version of the error: else nothing of it would be read.
      const same = body.inner.lie === 0 ? { ...body.inner, version: spec.version } : body.inner;
      const carried = ipPacket({ ...same, flow: spec.flow }, config, true);
      const cut = spec.payload === 20 ? carried : carried.slice(0, 2 * spec.payload + 8);
      return {
        protocol: spec.version === 4 ? 1 : 58,
        content: [types[body.type % types.length]!, 0, 0, 0, 0, 0, 5, 0x78, ...cut],
      };
    }
    case 'other':
      return { protocol: body.protocol, content: payload };
  }
}

function transport(
  { protocol, ports, obey }: { protocol: number; ports: PortsSpec; obey: boolean },
  flow: Flow,
  inner: boolean,
  payload: readonly number[],
): number[] {
  const [fromRanges, toRanges] = inner
    ? [flow.destinationPortRanges, flow.sourcePortRanges]
    : [flow.sourcePortRanges, flow.destinationPortRanges];
  const bytes = [
    ...be16(aimedPort(ports.source, fromRanges)),
    ...be16(aimedPort(ports.destination, toRanges)),
    ...payload,
  ];
  const names = { 6: 'tcp', 17: 'udp', 132: 'sctp' } as Readonly<Record<number, string>>;
  if (!obey) return bytes;
  for (const { protocol: name, offset, width, mask, value } of flow.byteMatches) {
    if (name !== names[protocol]) continue;
    for (let n = 0; n < width && offset + n < bytes.length; n++) {
      const shift = 8 * (width - 1 - n);
      const keep = ~(mask >>> shift) & 255;
      bytes[offset + n] = (bytes[offset + n]! & keep) | ((value >>> shift) & 255);
    }
  }
  return bytes;
}

/** A number of 128 bits at an edge of one of the prefixes. */
function aimedAddress({ random, pick, edge, value }: Aim, prefixes: readonly Prefix[]): bigint {
  const prefix = prefixes[pick % Math.max(prefixes.length, 1)];
  if (random || prefix === undefined) return (0x20010db8n << 96n) | (0xffffn << 32n) | BigInt(value);
  const hostBits = BigInt(prefix.family === 4 ? 32 - prefix.length : 128 - prefix.length);
  const first = (addressNumber(prefix.address) >> hostBits) << hostBits;
  const last = first + (1n << hostBits) - 1n;
  const inside = first + (BigInt(value) & (last - first));
  const edges = [first, last, inside, inside, inside, first, last, first - 1n, last + 1n, first];
  return edges[edge]! & ((1n << 128n) - 1n);
}

function aimedPort({ random, pick, edge, value }: Aim, ranges: readonly PortRange[]): number {
  const range = ranges[pick % Math.max(ranges.length, 1)];
  if (random || range === undefined) return [0, 1, 80, 443, 9899, 65535][value % 6]!;
  const { first, last } = range;
  const inside = first + (value % (last - first + 1));
  return [first, last, inside, inside, first, last, first - 1, last + 1, first, last][edge]! & 0xffff;
}

function bytesOf(value: bigint, count: number): number[] {
  return Array.from({ length: count }, (_, n) => Number((value >> BigInt(8 * (count - 1 - n))) & 0xffn));
}

function be16(value: number): number[] {
  return [(value >> 8) & 255, value & 255];
}
