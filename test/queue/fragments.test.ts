/** Fragments without a verdict in a real queue: across changes, among others, in short queues, and at an end. */
import type { Worker } from 'node:worker_threads';
import { createImages } from '../../host/core/create.js';
import { heldWithin, WorkerPool } from '../../host/queue/pool.js';
import { UDP } from '../fixture/packet.js';
import { wirePacket } from '../fixture/wire.js';
import {
  config,
  datagram,
  HOST,
  knowNeighbour,
  layLink,
  PEER,
  PORT,
  QUEUES,
  send,
  start,
} from './fragment-link.js';
import { insideNamespace, run, until } from './namespace.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

layLink();

t.test('what is held stays in the kernel, and leaves by the image that decides its first', async t => {
  const { images, pool, counts, depth } = await start();
  const [first, ...later] = datagram();
  send(...later);
  await until('both are held', () => counts().waiting === 2);
  t.equal(depth(), 2);
  images.publish(config(6001));
  await images.retire();
  t.equal(counts().waiting, 2, 'a worker that holds something uses no image');
  send(first!);
  await until('both are released', () => counts().released === 2);
  await until('all are answered', () => depth() === 0);
  t.equal(images.targetCounters.read('s/1'), 3);
  await pool.stop();
  t.match(pool.statistics()[0]!.shim, { packets: 3, verdicts: 3, verdictErrors: 0 });
});

t.test('others are answered while some are held, each once', async t => {
  const { pool, counts, depth } = await start();
  const waiting = Array.from({ length: 20 }, () => datagram());
  send(...waiting.flatMap(([, ...later]) => later));
  const others = Array.from({ length: 200 }, (_, n) => wirePacket(UDP, PEER, 1000 + n, HOST, PORT));
  send(...others);
  await until('all others are answered', () => pool.statistics()[0]!.packets === 240 && depth() === 40);
  t.equal(counts().waiting, 40);
  send(...waiting.map(([first]) => first!));
  await until('none waits', () => depth() === 0);
  await pool.stop();
  t.match(pool.statistics()[0]!.shim, { packets: 260, verdicts: 260, verdictErrors: 0 });
});

t.test('no more than a quarter of a queue is held, and its time runs out without a packet', async t => {
  t.strictSame(heldWithin({ timeoutMs: 1, mostHeld: 256 }, 1024), { timeoutMs: 1, mostHeld: 256 });
  t.strictSame(heldWithin({ timeoutMs: 1, mostHeld: 9999 }, 1_000_000), { timeoutMs: 1, mostHeld: 256 });
  t.strictSame(heldWithin({ timeoutMs: 1, mostHeld: 256 }, 3), { timeoutMs: 1, mostHeld: 0 });
  const { pool, counts, depth } = await start({ queueLength: 40, timeoutMs: 2000 });
  send(...Array.from({ length: 12 }, () => datagram()).flatMap(packets => packets.slice(1)));
  await until('all have come', () => counts().held === 24);
  t.ok(counts().waiting <= 10, `${counts().waiting} are held`);
  await until('none waits', () => counts().waiting === 0 && depth() === 0);
  const { pushedOut, timedOut } = counts();
  t.equal(pushedOut + timedOut, 24);
  t.ok(pushedOut > 0 && timedOut > 0, `${pushedOut} gave way, ${timedOut} timed out`);
  await pool.stop();
  t.match(pool.statistics()[0]!.shim, { packets: 24, verdicts: 24, verdictErrors: 0 });
});

t.test('a worker that ends leaves nothing behind, and the next one begins with nothing held', async t => {
  const { images, pool, counts, depth } = await start();
  send(...datagram().slice(1));
  await until('both are held', () => counts().waiting === 2 && depth() === 2);
  await pool.stop();
  const { module } = createImages(QUEUES);
  const next = await WorkerPool.start({
    core: { module, memory: images.memory },
    queues: QUEUES,
    queueLength: 1024,
  });
  t.equal(counts().waiting, 0);
  t.equal(next.statistics()[0]!.kernel!.depth, 0, 'the kernel has dropped them with the socket');
  send(...datagram());
  await until(
    'all are answered',
    () => next.statistics()[0]!.packets === 5 && next.statistics()[0]!.kernel!.depth === 0,
  );
  await next.stop();
  t.match(next.statistics()[0]!.shim, { verdicts: 3, verdictErrors: 0 });
});

t.test(
  'a worker that dies while it holds something drops that alone, and its next life begins anew',
  async t => {
    const threads: Worker[] = [];
    const { images, pool, counts, depth } = await start({ threads });
    const [first, ...later] = datagram();
    send(...later);
    await until('both are held', () => counts().waiting === 2);
    await threads[0]!.terminate();
    await until('another one serves', () => pool.restarts === 1 && pool.statistics()[0]!.bound);
    t.equal(counts().waiting, 0);
    t.equal(depth(), 0);
    send(first!, ...datagram());
    await until('four are answered', () => pool.statistics()[0]!.packets === 6 && depth() === 0);
    t.equal(images.targetCounters.read('s/1'), 4);
    await pool.stop();
    t.equal(pool.statistics()[0]!.shim.verdictErrors, 0);
  },
);

t.test('held packets that the kernel drops with their link cost nobody else', async t => {
  const { images, pool, counts, depth } = await start();
  const [first, ...later] = datagram();
  send(...later);
  await until('both are held', () => counts().waiting === 2 && depth() === 2);
  run('ip', 'link', 'set', 'here', 'down');
  await until('the kernel has dropped them', () => depth() === 0);
  run('ip', 'link', 'set', 'here', 'up');
  knowNeighbour();
  send(first!, ...datagram());
  await until('all are answered', () => pool.statistics()[0]!.packets === 6 && depth() === 0);
  await until('their verdicts are refused', () => pool.statistics()[0]!.shim.verdictErrors === 2);
  t.equal(counts().waiting, 0);
  t.equal(depth(), 0);
  t.equal(pool.restarts, 0);
  t.equal(images.targetCounters.read('s/1'), 6, 'the worker decided about all of them');
  await pool.stop();
});

t.test('who leaves waits for what is queued, not for what is held', async t => {
  const { pool, counts, depth } = await start();
  send(...datagram().slice(1));
  await until('both are held', () => counts().waiting === 2);
  t.ok(await pool.drained(60_000), 'nothing else waits');
  t.equal(depth(), 2);
  await pool.stop();
});

t.test('of more than may wait of one packet the last ones do, and leave with their first', async t => {
  const { pool, counts, depth, dropped } = await start();
  // 65,120 bytes in pieces of 160: more than the 256 that a queue holds.
  const [first, ...later] = datagram(65_112, 160);
  const [other, ...others] = datagram();
  t.equal(later.length, 406);
  send(...others);
  await until('two wait', () => counts().waiting === 2);
  send(...later);
  await until(
    'all have come, and others have the room that is left',
    () => counts().held === later.length + 2 && depth() === 256,
  );
  t.equal(counts().waiting, 256);
  t.equal(dropped('FragmentWithoutFirst'), later.length + 2 - 256);
  send(first!);
  await until('none waits', () => depth() === 0);
  t.match(counts(), { released: 256, pushedOut: later.length + 2 - 256, waiting: 0 });
  // Overlapping ones, more than a packet may have.
  send(...later, ...later);
  await until('each follows', () => counts().followed === 2 * later.length && depth() === 0);
  send(other!);
  await until(
    'it is answered',
    () => pool.statistics()[0]!.packets === 3 * later.length + 4 && depth() === 0,
  );
  await pool.stop();
  t.match(pool.statistics()[0]!.shim, { verdicts: 3 * later.length + 4, verdictErrors: 0 });
});

for (const { queueLength, mostHeld } of [
  { queueLength: 4, mostHeld: 1 },
  { queueLength: 1, mostHeld: 0 },
]) {
  t.test(`a queue of ${queueLength} holds ${mostHeld}, and serves the others`, async t => {
    const { pool, counts, depth, dropped } = await start({ queueLength });
    let packets = 0;
    /** One by one: so short a queue is full at once. */
    const pass = async (...sent: readonly Uint8Array[]) => {
      for (const packet of sent) {
        send(packet);
        packets++;
        // Seen is not yet answered, and so short a queue may have no room before that.
        await until('it was seen', () => pool.statistics()[0]!.packets === packets && depth() <= mostHeld);
      }
    };
    const early = Array.from({ length: 3 }, () => datagram());
    await pass(...early.map(([, second]) => second!));
    t.equal(depth(), mostHeld, 'the rest is answered');
    t.match(counts(), { waiting: mostHeld, held: 3 * mostHeld, later: 3 });
    t.equal(dropped('FragmentWithoutFirst'), 3 - mostHeld);
    await pass(...datagram());
    t.equal(depth(), mostHeld);
    await pass(early[2]![0]!);
    await until('none waits', () => depth() === 0);
    t.match(counts(), { followed: 2, released: mostHeld, waiting: 0 });
    await pool.stop();
    t.match(pool.statistics()[0]!.shim, { packets, verdicts: packets, verdictErrors: 0 });
  });
}

t.test('fragments of a target that is gone are dropped, those that still wait go by their first', async t => {
  const { images, pool, counts, depth, dropped } = await start();
  const [first, ...later] = datagram();
  const [lateFirst, ...early] = datagram();
  send(first!, ...early);
  await until('two wait', () => counts().waiting === 2 && counts().tracked === 1);
  images.publish(config(null));
  await images.retire();
  send(...later);
  await until('they are dropped', () => dropped('NoTarget') === 2);
  send(lateFirst!);
  await until('none waits', () => depth() === 0);
  t.equal(dropped('NoTarget'), 5);
  t.match(counts(), { released: 2, followed: 2, waiting: 0 });
  images.publish(config(5001));
  await images.retire();
  send(...datagram());
  await until('a new one is served', () => images.targetCounters.read('s/1') === 3);
  await pool.stop();
  t.equal(pool.statistics()[0]!.shim.verdictErrors, 0);
});
