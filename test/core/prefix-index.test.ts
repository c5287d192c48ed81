import t from 'tap';
import { networksOf } from '../../host/core/network.js';
import { NetworkMap } from '../../host/core/prefix-index.js';
import type { Prefix } from '../../host/types/config.js';

const COUNT = 20_000;

/** Milliseconds to file networks under themselves, and how many there are. */
function filed(prefixes: readonly Prefix[]): { ms: number; count: number } {
  const networks = prefixes.flatMap(prefix => networksOf([prefix]));
  const map = new NetworkMap(() => 0);
  const from = performance.now();
  for (const network of networks) map.get(network).value++;
  const ms = performance.now() - from;
  return { ms, count: map.ordered().length };
}

t.test('IPv6 networks that differ in their high half alone are filed as fast as IPv4 ones', async t => {
  const numbers = Array.from({ length: COUNT }, (_, index) => index);
  const four = numbers.map(n => ({ family: 4 as const, address: `10.${n >> 8}.${n & 255}.0`, length: 24 }));
  const six = numbers.map(n => ({ family: 6 as const, address: `2001:db8:${n.toString(16)}::`, length: 48 }));
  const [slow, fast] = [filed(six), filed(four)];
  t.equal(slow.count, COUNT);
  t.equal(fast.count, COUNT);
  // Were they all in one chain, it would be thousands of times.
  t.ok(slow.ms < 50 * fast.ms, `${slow.ms} ms, ${fast.ms} ms`);
});

t.test('one network is one entry, however it is written, and lengths are told apart', async t => {
  const map = new NetworkMap(() => 0);
  const prefix = (address: string, length: number): Prefix => ({
    family: address.includes(':') ? 6 : 4,
    address,
    length,
  });
  for (const each of [
    prefix('10.0.0.0', 8),
    prefix('10.9.9.9', 8),
    prefix('::ffff:a00:0', 104),
    prefix('10.0.0.0', 9),
    prefix('2000::', 3),
    prefix('2000::', 4),
  ])
    for (const network of networksOf([each])) map.get(network).value++;
  t.same(
    map.ordered().map(({ network, value }) => [network.length, value]),
    [
      [104, 3],
      [105, 1],
      [3, 1],
      [4, 1],
    ],
  );
});
