/** Random configurations whose flows overlap: few addresses, few ports, few priorities. */
import fc from 'fast-check';
import type {
  ByteMatch,
  Config,
  Flow,
  PortRange,
  Prefix,
  Protocol,
  Stream,
} from '../../host/types/config.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';

/** Addresses near one another, at both ends of their family, and IPv4 ones written as IPv6. */
const ADDRESSES: readonly string[] = [
  '10.10.10.10',
  '10.10.10.11',
  '10.10.11.0',
  '192.0.2.255',
  '0.0.0.0',
  '255.255.255.255',
  '2001:db8:10:0:0:0:0:a',
  '2001:db8:10:0:0:0:0:b',
  '2001:db8:10:0:8000:0:0:0',
  '2001:db8:11:0:0:0:0:0',
  '0:0:0:0:0:ffff:a0a:a0a',
  '0:0:0:0:0:fffe:ffff:ffff',
  '0:0:0:0:0:0:0:0',
  'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
];

const prefix: fc.Arbitrary<Prefix> = fc
  .tuple(
    fc.constantFrom(...ADDRESSES),
    fc.oneof(fc.constantFrom(0, 1, 8, 31, 32, 63, 64, 65, 96, 127, 128), fc.nat(128)),
  )
  .map(([address, length]) =>
    address.includes(':')
      ? { family: 6, address, length }
      : { family: 4, address, length: Math.min(length, 32) },
  );

const port = fc.oneof(
  fc.constantFrom(1, 2, 79, 80, 81, 443, 1023, 1024, 9899, 65534, 65535),
  fc.integer({ min: 1, max: 65535 }),
);

const range: fc.Arbitrary<PortRange> = fc
  .tuple(port, fc.oneof(fc.constant(0), fc.constant(1), fc.nat(65535)))
  .map(([first, more]) => ({ first, last: Math.min(first + more, 65535) }));

/** Bytes of the fixed headers. */
const HEADER_BYTES: Readonly<Record<Protocol, number>> = { tcp: 20, udp: 8, sctp: 12 };

const byteMatch: fc.Arbitrary<ByteMatch> = fc
  .record({
    protocol: fc.constantFrom<Protocol>('tcp', 'udp', 'sctp'),
    width: fc.constantFrom(1 as const, 2 as const, 4 as const),
    place: fc.double({ min: 0, max: 1, noNaN: true }),
    mask: fc.oneof(fc.constantFrom(0xffffffff, 1, 2, 0x12, 0xff, 0xff00, 0x80000000), fc.nat(0xffffffff)),
    value: fc.oneof(fc.constantFrom(0, 1, 2, 80), fc.nat(0xffffffff)),
  })
  .map(({ protocol, width, place, mask, value }) => {
    const widest = 2 ** (8 * width) - 1;
    return {
      text: '',
      protocol,
      width,
      offset: Math.floor(place * (HEADER_BYTES[protocol] - width + 0.999)),
      mask: mask === 0 ? 0xffffffff : mask,
      // Sometimes a value outside its mask stays: such a statement never holds.
      value: value % 5 === 4 ? value & widest : (value & widest & mask) >>> 0,
    };
  })
  .map(statement => ({ ...statement, value: statement.value >>> 0 }));

const flow = (streams: readonly string[]): fc.Arbitrary<Omit<Flow, 'name'>> =>
  fc
    .record({
      stream: fc.constantFrom(...streams),
      priority: fc.constantFrom(0, 0, 0, 1, 1, -1, 2_000_000_000),
      protocols: fc.oneof(
        fc.subarray<Protocol>(['tcp', 'udp', 'sctp']),
        fc.constant<Protocol[]>(['sctp']),
        fc.constant<Protocol[]>([]),
      ),
      vips: fc.array(prefix, { maxLength: 3 }),
      sourceSubnets: fc.oneof(fc.constant<Prefix[]>([]), fc.array(prefix, { maxLength: 2 })),
      destinationPortRanges: fc.array(range, { maxLength: 3 }),
      sourcePortRanges: fc.oneof(fc.constant<PortRange[]>([]), fc.array(range, { maxLength: 2 })),
      byteMatches: fc.oneof(fc.constant<ByteMatch[]>([]), fc.array(byteMatch, { maxLength: 2 })),
      encapPort: fc.option(fc.constantFrom(9899, 9900, 443)),
    })
    .map(({ encapPort, ...rest }) => ({
      ...rest,
      udpEncapPort: rest.protocols.join() === 'sctp' ? encapPort : null,
    }));

/** Targets' marks by identifier, for up to `maxTargets` of them. */
const stream = (name: string, offset: number): fc.Arbitrary<Stream> =>
  fc
    .record({
      maxTargets: fc.integer({ min: 1, max: 20 }),
      tableSize: fc.integer({ min: 3, max: 300 }),
      active: fc.uniqueArray(fc.nat(19), { minLength: 1, maxLength: 20 }),
    })
    .map(({ maxTargets, tableSize, active }) =>
      streamOf(
        name,
        maxTargets,
        Object.fromEntries(
          active.map(index => [(index % maxTargets) + 1, offset + (index % maxTargets) + 1]),
        ),
        tableSize,
      ),
    );

const mark = fc.option(fc.constantFrom(0, 1, 0xffffffff));

/** Three streams, one of which has no target, and up to twelve flows. */
export const flowSet: fc.Arbitrary<Config> = fc
  .record({
    a: stream('a', 5000),
    b: stream('b', 6000),
    flows: fc.array(flow(['a', 'a', 'b', 'b', 'none']), { minLength: 1, maxLength: 12 }),
    hashMode: fc.constantFrom('sctp-ports' as const, 'five-tuple' as const),
    promiscuousPing: fc.boolean(),
    noFlowFwmark: mark,
    noTargetsFwmark: mark,
  })
  .map(({ a, b, flows, ...more }) =>
    configOf({
      ...more,
      streams: [a, b, streamOf('none', 4, {}, 7)],
      flows: flows.map((each, index) => flowOf(`f${index}`, each.stream, each)),
    }),
  );
