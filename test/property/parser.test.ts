/** Laws of the parser that hold for any bytes. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { Simulator } from '../../host/simulator/simulator.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { parse } from '../reference/parse.js';
import { check } from './check.js';
import { damage, packetSpec, render } from './packet.js';

const REASONS = [
  'ok',
  'no-flow',
  'no-target',
  'not-ip',
  'truncated',
  'bad-header',
  'headers-too-deep',
  'fragment-without-first',
];
const READ_BYTES = 512;
const PACKET_BYTES = 1024;

/** Everything matches, SCTP inside UDP is looked for, and one flow reads bytes: all of a packet that can matter does. */
const config = configOf({
  streams: [streamOf('s', 10, { 1: 5001, 3: 5003, 10: 5010 })],
  flows: [
    flowOf('bytes', 's', {
      priority: 1,
      byteMatches: [
        { text: '', protocol: 'tcp', offset: 16, width: 4, mask: 0x3, value: 1 },
        { text: '', protocol: 'udp', offset: 4, width: 4, mask: 0x1, value: 1 },
        { text: '', protocol: 'sctp', offset: 8, width: 4, mask: 0x1, value: 1 },
      ],
      protocols: ['tcp', 'udp', 'sctp'],
    }),
    flowOf('sctp', 's', { protocols: ['sctp'], udpEncapPort: 9899 }),
    flowOf('all', 's'),
  ],
});
const simulator = Simulator.fromConfig(config);

/** Real packets and noise; noise mostly begins as IPv4 or IPv6 does. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 700, size: 'max' }),
  fc
    .tuple(fc.constantFrom(0x45, 0x46, 0x4f, 0x60), fc.uint8Array({ maxLength: 699, size: 'max' }))
    .map(([first, rest]) => Uint8Array.from([first, ...rest])),
  fc.tuple(packetSpec(2), damage).map(([spec, harm]) => render(spec, config, harm).packet),
);
const uncaptured = fc.oneof(fc.constant(0), fc.constantFrom(1, 1500, 70_000), fc.nat(0xffff));

t.test('any bytes are answered with a reason of the closed list, the one of the reference', async () => {
  const seen = new Set<string>();
  const property = fc.property(bytes, uncaptured, (packet, more) => {
    const { reason } = simulator.decide(packet, packet.length + more);
    assert.ok(REASONS.includes(reason), reason);
    seen.add(reason);
    const expected = parse(packet, packet.length + more);
    if (typeof expected === 'string') assert.equal(reason, expected);
  });
  await check(property, 20_000);
});

t.test('bytes behind the end of a packet never matter', async () => {
  const property = fc.property(
    bytes,
    uncaptured,
    fc.uint8Array({ minLength: 1, maxLength: 64 }),
    (packet, more, noise) => {
      const wireLength = packet.length + more;
      // A packet stays in the core's memory where the next, shorter one is laid over it.
      simulator.decide(new Uint8Array(PACKET_BYTES));
      const zeros = simulator.decide(packet, wireLength);
      simulator.decide(Uint8Array.from({ length: PACKET_BYTES }, (_, at) => noise[at % noise.length]!));
      assert.deepEqual(simulator.decide(packet, wireLength), zeros);
    },
  );
  await check(property, 20_000);
});

/** Packets whose headers reach to both sides of the bound. */
const long = fc
  .tuple(bytes, fc.nat(3), fc.uint8Array({ minLength: 200, maxLength: 200 }))
  .map(([packet, chains, tail]) => {
    if (chains === 0) {
      const padded = new Uint8Array(PACKET_BYTES).fill(tail[2]!);
      padded.set(packet.subarray(0, PACKET_BYTES));
      return padded;
    }
    const last = 400 + 8 * (tail[0]! % 20);
    const whole = new Uint8Array(900).fill(0xab);
    whole.set([0x60, 0, 0, 0, ...[(900 - 40) >> 8, (900 - 40) & 255], 60, 64], 0);
    whole.set([tail[1]! % 2 === 0 ? 6 : 132, (last - 40) / 8 - 1], 40);
    return whole;
  });

t.test('bytes behind the first 512 never matter, only that they were there', async t => {
  const seen = new Set<string>();
  const property = fc.property(long, fc.nat(255), (packet, noise) => {
    const whole = simulator.decide(packet);
    const changed = packet.slice();
    changed.fill(noise, READ_BYTES);
    assert.deepEqual(simulator.decide(changed), whole, 'other bytes there');
    assert.deepEqual(simulator.decide(packet.subarray(0, READ_BYTES), packet.length), whole, 'not captured');
    seen.add(whole.reason);
  });
  await check(property, 10_000);
  t.ok(seen.has('ok') && seen.has('headers-too-deep'), [...seen].join());
});
