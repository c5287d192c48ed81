import fc from 'fast-check';
import t from 'tap';
import {
  addressKey,
  addressNumber,
  prefixInterval,
  unitedIntervals,
  withoutCovered,
} from '../../host/types/address.js';
import type { Prefix } from '../../host/types/config.js';

t.test('spellings of one address are one number', t => {
  t.equal(addressNumber('20.0.0.1'), 0x14000001n);
  t.equal(addressNumber('::'), 0n);
  t.equal(addressNumber('2000::1'), addressNumber('2000:0:0:0:0:0:0:1'));
  t.equal(addressNumber('fd00:0:0:1::8'), addressNumber('fd00::1:0:0:0:8'));
  t.equal(addressNumber('::ffff:20.0.0.1'), addressNumber('::ffff:1400:1'));
  t.end();
});

t.test('spellings of one address are one key, and the families have keys of their own', t => {
  t.equal(addressKey('fd00:0:0:1::8'), addressKey('fd00::1:0:0:0:8'));
  t.not(addressKey('::1400:1'), addressKey('20.0.0.1'));
  t.not(addressKey('fd00:0:0:1::8'), addressKey('fd00:0:0:2::8'));
  t.end();
});

t.test('one interface identifier in many networks does not make a Map slow', t => {
  const once = (address: (index: number) => string) => {
    const addresses = Array.from({ length: 20_000 }, (_, index) => address(index));
    const from = process.cpuUsage();
    const known = new Map(addresses.map(each => [addressKey(each), each]));
    t.equal(known.size, 20_000);
    return process.cpuUsage(from).user / 1000;
  };
  // Whatever else the machine does makes some of them slow, and none fast.
  const ms = (address: (index: number) => string) =>
    Math.min(...Array.from({ length: 3 }, () => once(address)));
  const same = ms(index => `2001:db8:${index.toString(16)}::1`);
  const distinct = ms(index => `2001:db8::${index.toString(16)}:1`);
  // Were they all in one chain, it would be thousands of times.
  t.ok(same < 50 * distinct, `${same} ms, ${distinct} ms`);
  t.end();
});

t.test('of nested and equal prefixes the widest stays', t => {
  const prefixes: Prefix[] = [
    { family: 4, address: '20.0.0.1', length: 32 },
    { family: 4, address: '20.0.1.0', length: 24 },
    { family: 4, address: '20.0.0.0', length: 24 },
    { family: 4, address: '20.0.0.0', length: 24 },
    { family: 4, address: '20.0.0.0', length: 32 },
  ];
  t.same(withoutCovered(prefixes), [prefixes[2], prefixes[1]]);
  t.end();
});

const prefix = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 24, max: 32 }))
  .map(
    ([last, length]): Prefix => ({ family: 4, address: `10.0.0.${last & (-1 << (32 - length))}`, length }),
  );

t.test('without covered ones, prefixes are disjoint and hold the same addresses', t => {
  fc.assert(
    fc.property(fc.array(prefix), prefixes => {
      const all = prefixes.map(prefixInterval);
      const kept = withoutCovered(prefixes).map(prefixInterval);
      const disjoint = kept.every((interval, index) => index === 0 || interval.first > kept[index - 1]!.last);
      const same = (a: unknown, b: unknown) => JSON.stringify(a, big) === JSON.stringify(b, big);
      return disjoint && same(unitedIntervals(all), unitedIntervals(kept));
    }),
  );
  t.pass();
  t.end();
});

function big(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
