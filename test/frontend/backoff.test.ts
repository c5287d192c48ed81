import t from 'tap';
import { Backoff } from '../../host/frontend/backoff.js';

t.test('waits double up to 10 s, and begin anew after a run of 10 s', async t => {
  const backoff = new Backoff();
  const waits = Array.from({ length: 9 }, () => backoff.next(5));
  t.strictSame(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  t.equal(backoff.next(9999), 10_000);
  t.strictSame([backoff.next(10_000), backoff.next(0)], [100, 200]);
});
