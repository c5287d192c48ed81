/** When a thing is repaired again, by a clock that the test moves. */
import t from 'tap';
import { Repairs } from '../../host/kernel/repairs.js';

const THING = 'table ip mangle';
const OTHER = 'ip -4 rule add priority 99 fwmark 0x13b4 lookup 5044';

function clocked() {
  const clock = { now: 1_000_000 };
  const repairs = new Repairs(() => clock.now);
  /** A comparison that finds `differing`. @returns what is repaired */
  const round = (...differing: string[]): string[] => {
    repairs.beginRound();
    const repaired = differing.filter(what => repairs.allows(what));
    for (const what of repaired) repairs.repaired(what);
    repairs.endRound();
    return repaired;
  };
  return { clock, repairs, round };
}

t.test('a repair that does not help waits longer and longer, and is a warning', t => {
  const { clock, repairs, round } = clocked();
  const at: number[] = [];
  const began = clock.now;
  for (; clock.now < began + 180_000; clock.now += 150)
    if (round(THING).length > 0) at.push(clock.now - began);
  t.ok(at.length < 15, `${at.length} repairs in three minutes, at ${at.join(', ')} ms`);
  const waits = at.slice(1).map((time, index) => time - at[index]!);
  t.same(
    waits.map(wait => Math.round(wait / 1000)),
    [0, 1, 2, 4, 8, 16, ...waits.slice(6).map(() => 30)],
  );
  t.same(repairs.vain, [THING]);
  t.match(repairs.warnings(), [/^a repair of table ip mangle does not help: the kernel lists it as before/]);
  t.ok(repairs.dueMs! <= 30_000);
  t.same(round(), [], 'it is as it is wanted');
  t.same(repairs.vain, []);
  t.equal(repairs.dueMs, null);
  t.same(round(THING), [THING], 'and repaired at once the next time');
  t.end();
});

t.test('one thing does not hold up another, and a change of configuration holds up none', t => {
  const { clock, repairs, round } = clocked();
  for (let count = 0; count < 20; count += 1, clock.now += 150) round(THING);
  t.same(round(THING, OTHER), [OTHER]);
  repairs.forget();
  t.same(round(THING), [THING]);
  t.end();
});

t.test('what differs again soon after its repair is repaired at once', t => {
  const { clock, round } = clocked();
  t.same(round(THING), [THING]);
  clock.now += 150;
  t.same(round(THING), [THING], 'somebody may have changed it since');
  t.end();
});

t.test('a thing that others change each second is repaired at once each time, and is a warning', t => {
  const { clock, repairs, round } = clocked();
  for (let count = 0; count < 10; count += 1) {
    t.same(round(OTHER), [OTHER]);
    clock.now += 150;
    round();
    clock.now += 850;
  }
  t.same(repairs.vain, []);
  t.match(repairs.warnings(), [/^another program removes or changes ip -4 rule add .* again and again/]);
  clock.now += 60_000;
  round();
  t.same(repairs.warnings(), [], 'it stops a minute after the last change');
  t.end();
});

t.test('a repair that the kernel refused is none, and a comparison that failed tells nothing', t => {
  const { clock, repairs } = clocked();
  for (let count = 0; count < 20; count += 1, clock.now += 150) {
    repairs.beginRound();
    t.ok(repairs.allows(OTHER), 'tried each time: an event says when it may succeed');
    repairs.endRound();
  }
  t.same(repairs.warnings(), []);
  repairs.repaired(OTHER);
  repairs.beginRound();
  t.ok(repairs.allows(OTHER));
  repairs.beginRound();
  t.ok(repairs.allows(OTHER), 'counted once');
  t.end();
});
