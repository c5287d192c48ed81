/** Which neighbours are asked whether they are still where the kernel sends to. */
import t from 'tap';
import { type CountedTarget, NeighbourProbe } from '../../host/daemon/neighbour-probe.js';
import type { NextHop } from '../../host/kernel/wanted.js';

const address = (n: number) => `172.16.${n >> 8}.${n & 255}`;
const hop = (n: number): NextHop => ({ family: 4, address: address(n), device: 'c' });

/** `packets` of each target, by its number; what each tick asks, and whom it asked before. */
function probing(count: number, mostATick = 1000) {
  const packets = new Array<number>(count).fill(0);
  const asked: string[][] = [];
  const before: string[][] = [];
  const probe = new NeighbourProbe({
    log: { error() {} },
    targets: function* (): Iterable<CountedTarget> {
      for (const [n, sent] of packets.entries())
        yield { label: `s/${n}`, ips: [{ family: 4, address: address(n) }], packets: sent };
    },
    probe: async (hops, earlier) => {
      asked.push(hops.map(each => each.address));
      before.push(earlier.map(each => each.address));
    },
    mostATick,
  });
  probe.keep(Array.from({ length: count }, (_, n) => hop(n)));
  return { packets, asked, before, probe };
}

t.test(
  'a target that was sent packets is asked, and judged at the next tick; others cost nothing',
  async t => {
    const { packets, asked, before, probe } = probing(3);
    await probe.tick();
    t.same(asked, [], 'no traffic');
    packets[1]!++;
    await probe.tick();
    await probe.tick();
    await probe.tick();
    t.same(asked, [[address(1)], []]);
    t.same(before, [[], [address(1)]]);
  },
);

t.test('a thousand targets with traffic are asked in turn, so many a tick at most', async t => {
  const { packets, asked, probe } = probing(1000, 300);
  for (let tick = 0; tick < 4; tick++) {
    for (const n of packets.keys()) packets[n]!++;
    await probe.tick();
  }
  t.same(
    asked.map(each => each.length),
    [300, 300, 300, 300],
  );
  t.equal(new Set(asked.flat()).size, 1000, 'each of them within four ticks');
});

t.test('a target that cannot be reached, or is configured no more, is not asked', async t => {
  const { packets, asked, probe } = probing(2);
  packets.fill(1);
  probe.keep([hop(0)]);
  await probe.tick();
  t.same(asked, [[address(0)]]);
});
