import t from 'tap';
import { nextDue, spreadDelay, startDelay } from '../../host/health/schedule.js';

t.test(
  'one new target is asked at once, a thousand within a quarter of a second or the interval',
  async t => {
    t.equal(startDelay(0, 1, 1000), 0);
    t.equal(startDelay(999, 1000, 1000), 249.75);
    t.ok(startDelay(9999, 10_000, 100) < 100);
  },
);

t.test('whatever their number, targets are spread evenly over the interval', async t => {
  for (const count of [10, 100, 1000]) {
    const phases = Array.from({ length: count }, (_, n) => spreadDelay(n, 1000) % 1000).sort((a, b) => a - b);
    const gaps = phases.map((phase, n) => (phases[n + 1] ?? phases[0]! + 1000) - phase);
    const most = Math.max(...gaps);
    t.ok(most < 3 * (1000 / count), `${count} targets: the longest gap is ${most.toFixed(2)} ms`);
  }
});

t.test('the second check is half an interval to one and a half behind the first', async t => {
  const delays = Array.from({ length: 1000 }, (_, n) => spreadDelay(n, 1000));
  t.ok(delays.every(delay => delay >= 500 && delay < 1500));
});

t.test('late timers do not drift, and checks that were missed are left out', async t => {
  t.equal(nextDue(1000, 1007, 1000), 2000);
  t.equal(nextDue(1000, 2000, 1000), 2000, 'one that used all of its interval is followed at once');
  t.equal(nextDue(1000, 2004, 1000), 2000);
  t.equal(nextDue(1000, 4500, 1000), 4000, 'one at most is made up for');
});
