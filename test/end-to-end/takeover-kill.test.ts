/** A takeover in the midst of which one of the two dies: the other one goes on, and BIRD with it. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { A, B } from './bgp.js';
import { Killer, type Step } from './killer.js';
import { comparableState } from './lab.js';
import { Load } from './load.js';
import { isRunning, ONE, OTHER, TakeoverLab } from './takeover-lab.js';

/** Little enough for a queue to hold what comes while nobody answers it. */
const PER_SECOND = 2000;
const BOUND_MS = 60_000;
const WENT_ON = 'the takeover came to nothing: going on';

t.setTimeout(300_000);
const lab = await TakeoverLab.create();
t.teardown(() => lab.topology.destroy());
const killer = new Killer(join(lab.topology.directory, 'programs'));
let running = await lab.serving(ONE);
const standing = await state();
const began = Date.now();
const before = await running.status();

/** Numbers of the queues alternate. */
async function state(): Promise<string> {
  return (await comparableState(lab.topology)).replace(
    /queue(-balance|-num|s? num| to) [0-9:-]+/g,
    'queue N',
  );
}

/** Calls of an undisturbed takeover to another configuration and back. */
killer.count();
// What an armed killer counts is for one daemon alone: no other is given its environment.
running = await lab.succeeding(running, OTHER, killer.environment);
const calls = killer.disarm();
const other = await state();
running = await lab.succeeding(running, ONE);

/** @returns datagrams that were lost while `work` went on */
async function lostDuring(work: () => Promise<void>): Promise<number> {
  const load = await Load.start(lab.topology, [A, B], PER_SECOND);
  await work();
  return (await load.stop()).lost;
}

async function expectWhole(t: Test, text: string, wanted: string, claim: string): Promise<void> {
  await waitFor('the kernel to hold what is wanted', BOUND_MS, async () => (await state()) === wanted).catch(
    async () => t.equal(await state(), wanted),
  );
  await lab.bgp.expectServed(t, text, [A[4], A[6], B[4], B[6]], claim);
  t.equal(await lostDuring(async () => {}), 0, `${claim}: nothing is lost from now on`);
  lab.expectAnnounced(t, began, before, await running.status());
}

/** Every second one, from the end or from the one before: `npm run test:kill` takes all. */
function numbers(count: number, behind: 0 | 1): number[] {
  const all = Array.from({ length: count }, (_, index) => index + 1);
  if (process.env.MAGMARK_KILL_BOTH_WAYS !== undefined) return all;
  return all.filter(number => (count - number) % 2 === behind);
}

const step = (number: number): Step => ({ number, moment: 'before' });
const named = (number: number) => `${number} of ${calls.length} (${calls[number - 1]})`;

t.test('the new one is killed before each of its changes: the old one goes on', async t => {
  for (const number of numbers(calls.length, 0)) {
    killer.arm(step(number));
    let next: LabDaemon | null = null;
    const lost = await lostDuring(async () => {
      next = lab.takeOver(OTHER, killer.environment);
      await waitFor('the new one to be killed', BOUND_MS, () => next!.hasEnded());
      await waitFor('the old one to go on', BOUND_MS, () => running.log().some(({ msg }) => msg === WENT_ON));
    });
    killer.disarm();
    t.comment(`killed before change ${named(number)}: ${lost} datagrams of ${PER_SECOND} a second lost`);
    t.notOk(running.hasEnded());
    await expectWhole(t, ONE, standing, `change ${number}`);
    running = await lab.succeeding(running, ONE);
  }
});

t.test('the old one is killed before each change of the new one: that goes on', async t => {
  for (const [index, number] of numbers(calls.length, 1).entries()) {
    const [text, wanted] = index % 2 === 0 ? [OTHER, other] : [ONE, standing];
    const former = running;
    killer.arm(step(number), former.pid);
    const lost = await lostDuring(async () => {
      running = lab.takeOver(text, killer.environment);
      await waitFor('the old one to end', BOUND_MS, () => former.hasEnded());
      await running.ready();
    });
    killer.disarm();
    t.comment(`killed before change ${named(number)}: ${lost} datagrams of ${PER_SECOND} a second lost`);
    await expectWhole(t, text, wanted, `change ${number}`);
  }
  if (numbers(calls.length, 1).length % 2 === 1) running = await lab.succeeding(running, ONE);
});

t.test('a new one that is asked to stop gives back, and nothing is lost', async t => {
  const lost = await lostDuring(async () => {
    const next = lab.takeOver(OTHER);
    await waitFor('the takeover to begin', BOUND_MS, () =>
      running.log().some(({ msg }) => msg === 'another magmark takes over'),
    );
    next.signal('SIGTERM');
    await next.ended();
  });
  t.equal(lost, 0);
  await expectWhole(t, ONE, standing, 'stopped');
});

t.test('one that is asked after the rules led to its queues gives back too, and nothing is lost', async t => {
  const lost = await lostDuring(async () => {
    const next = lab.takeOver(OTHER);
    await waitFor('the queues of the running one to be empty', BOUND_MS, () =>
      next.log().some(({ msg }) => msg === 'its queues are empty'),
    );
    next.signal('SIGTERM');
    await next.ended();
  });
  t.equal(lost, 0);
  await expectWhole(t, ONE, standing, 'stopped after the switch');
});

t.test('the last daemon that dies takes BIRD with it', async t => {
  const { bird } = await running.status();
  const killed = Date.now();
  running.signal('SIGKILL');
  await running.ended();
  const lost = await Promise.all([A[4], A[6]].map(vip => lab.bgp.after(killed, 'lost', vip)));
  t.comment(`a dead queue is announced for ${Math.max(...lost)} ms after the kill`);
  await waitFor('BIRD to be gone', BOUND_MS, () => !isRunning(bird.pid!));
  t.ok(Math.max(...lost) < 2000 * (await leeway()), 'within 2 s of an idle machine');
});
