/** The running daemon's side of a takeover: when it holds still, and what ends that. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { Handover, type HeldDaemon } from '../../host/daemon/handover.js';

/** As much of a daemon as a handover touches; what was done to it, in order. */
function fakeDaemon() {
  const done: string[] = [];
  const daemon: HeldDaemon = {
    holdTurn: async () => {
      done.push('held');
      return () => done.push('released');
    },
    goOn: async (reason: string, otherAnswers: boolean) => void done.push(`${reason}, ${otherAnswers}`),
    leave: async () => void done.push('left'),
    frontend: { pause: async () => undefined },
    options: {
      log: { info() {} },
      journalPath: '/j',
      onLeft: () => done.push('end'),
    },
    pool: { queues: { first: 0, last: 1 }, drained: async () => true },
    service: { addresses: [], known: () => ({ serving: [], health: [] }) },
  };
  return { done, daemon };
}

const SUCCESSOR = { protocol: 1, version: '0.0.0', pid: 1 };

t.test('one that has gone without having read a second line holds this daemon up no longer', async t => {
  const { daemon, done } = fakeDaemon();
  const gone = new AbortController();
  const lines = new Handover(daemon, SUCCESSOR).lines(gone.signal);
  const { value } = await lines.next();
  t.match(JSON.parse(value as string), { type: 'begun', queues: { first: 0, last: 1 } });
  t.strictSame(done, ['held']);
  gone.abort();
  await turn();
  t.strictSame(done, ['held', 'who took over has gone, false', 'released']);
});

t.test('given back, it makes no change before the other one has parted', async t => {
  const { daemon, done } = fakeDaemon();
  const gone = new AbortController();
  const handover = new Handover(daemon, SUCCESSOR);
  const lines = handover.lines(gone.signal);
  await lines.next();
  const last = lines.next();
  await handover.giveBack('the takeover failed', true);
  await turn();
  t.strictSame(done, ['held', 'the takeover failed, true']);
  await t.rejects(handover.finish(), { message: 'the handover was given back before' });
  gone.abort();
  t.strictSame(await last, { value: undefined, done: true });
  t.strictSame(done.at(-1), 'released');
});

t.test('finished, it ends when the other one has read the answer, and makes no change any more', async t => {
  const { daemon, done } = fakeDaemon();
  const gone = new AbortController();
  const handover = new Handover(daemon, SUCCESSOR);
  const lines = handover.lines(gone.signal);
  await lines.next();
  const last = lines.next();
  await handover.finish();
  t.throws(() => handover.giveBack('too late', true), { message: 'the handover was finished before' });
  await turn();
  t.strictSame(done, ['held', 'left']);
  gone.abort();
  await last;
  t.strictSame(done, ['held', 'left', 'end']);
});
