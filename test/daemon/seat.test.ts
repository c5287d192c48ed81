import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Seat } from '../../host/daemon/seat.js';
import { insideNamespace } from '../queue/namespace.js';

// The lock belongs to the network namespace.
await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

/** A second look is as far away at least, once it was told that the seat is taken. */
const FAR_MS = 4000;
const directory = mkdtempSync(join(tmpdir(), 'magmark-seat-'));
t.teardown(() => rmSync(directory, { recursive: true }));

function optionsOf(onError: (fields: object) => void) {
  const log = { info() {}, warn() {}, error: onError } as never;
  return { socketPath: join(directory, 's.sock'), journalPath: join(directory, 'journal'), log };
}

t.test('a seat that is taken is waited for until it is free', async t => {
  const former = await Seat.take(optionsOf(() => {}));
  const waiting = Seat.takeWhenFree(optionsOf(t.fail), new AbortController().signal);
  former.leave();
  const seat = await waiting;
  t.ok(seat);
  await seat!.endControl();
  seat!.unlock();
});

t.test('a stop ends the wait at once, also where it has become a long one', async t => {
  const former = await Seat.take(optionsOf(() => {}));
  const stop = new AbortController();
  const late = new Promise<object>(resolve => {
    void Seat.takeWhenFree(optionsOf(resolve), stop.signal).then(seat => ended(seat));
  });
  let ended: (seat: Seat | null) => void = () => {};
  const end = new Promise<Seat | null>(resolve => {
    ended = resolve;
  });
  t.match(await late, { reason: /another magmark runs/ });
  const stopped = performance.now();
  stop.abort();
  t.equal(await end, null);
  const tookMs = performance.now() - stopped;
  t.ok(tookMs < FAR_MS, `${tookMs} ms`);
  t.equal(await Seat.takeWhenFree(optionsOf(t.fail), stop.signal), null, 'nor is another one begun');
  await former.endControl();
  former.unlock();
});
