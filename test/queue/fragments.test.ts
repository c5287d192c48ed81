/** Fragments without a verdict in a real queue: across changes, among others, and at an end. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { fragmentCounts } from '../../host/core/counters.js';
import { createImages } from '../../host/core/create.js';
import { heldWithin, WorkerPool } from '../../host/queue/pool.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { fragmentOf, piecesOf } from '../fixture/fragment.js';
import { UDP } from '../fixture/packet.js';
import { wirePacket } from '../fixture/wire.js';
import { insideNamespace, run, until } from './namespace.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

const PEER = '10.9.0.2';
const HOST = '10.9.0.1';
const PORT = 7000;
const QUEUES = { first: 0, last: 0 };
/** Nothing runs out unless a test waits for it. */
const LONG_MS = 600_000;
const RAW = fileURLToPath(new URL('../../../test/end-to-end/raw.py', import.meta.url));

// A peer of its own, so that fragments come over a link as they are: what this host sends to itself it puts together.
run('ip', 'link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there');
for (const name of ['here', 'there']) run('ip', 'link', 'set', name, 'up');
run('ip', 'addr', 'add', `${HOST}/24`, 'dev', 'here');
const hardware = run('cat', '/sys/class/net/here/address').trim();
const neighbour = () =>
  run('ip', 'neigh', 'replace', HOST, 'lladdr', hardware, 'dev', 'there', 'nud', 'permanent');
neighbour();
const match = ['-i', 'here', '-p', 'udp'];
run('iptables-nft', '-t', 'mangle', '-A', 'PREROUTING', ...match, '-j', 'NFQUEUE', '--queue-num', '0');
// Each mark is counted behind the queue, and nothing reaches a socket.
for (const mark of ['5001', '6001'])
  run('iptables-nft', '-t', 'mangle', '-A', 'INPUT', '-m', 'mark', '--mark', mark);
run('iptables-nft', '-t', 'raw', '-A', 'PREROUTING', '-i', 'there', '-j', 'DROP');

const config = (mark: number) =>
  configOf({
    streams: [streamOf('s', 1, { 1: mark })],
    flows: [flowOf('f', 's', { protocols: ['udp'], destinationPortRanges: [{ first: PORT, last: PORT }] })],
  });

let identification = 100;

/** A datagram in three fragments, the first one first. */
function datagram(): Uint8Array[] {
  const bytes = new Array<number>(88).fill(1);
  const whole = wirePacket(UDP, PEER, 999, HOST, PORT, bytes);
  const id = identification++;
  return piecesOf(bytes.length + 8, 32).map(piece => fragmentOf(whole, piece, id));
}

function send(...packets: readonly Uint8Array[]): void {
  const input = packets.map(packet => `${Buffer.from(packet).toString('hex')}\n`).join('');
  const { status, stderr } = spawnSync('python3', [RAW, 'send', 'there', HOST], { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

async function start(options: { queueLength?: number; timeoutMs?: number; threads?: Worker[] } = {}) {
  const { images, module } = createImages(QUEUES);
  images.publish(config(5001));
  const pool = await WorkerPool.start({
    core: { module, memory: images.memory },
    queues: QUEUES,
    queueLength: options.queueLength ?? 1024,
    fragments: { timeoutMs: options.timeoutMs ?? LONG_MS },
    spawn: (...parameters) => {
      const thread = new Worker(...parameters);
      options.threads?.push(thread);
      return thread;
    },
  });
  const counts = () => fragmentCounts(images.core, images.memory, 0);
  const depth = () => pool.statistics()[0]!.kernel!.depth;
  return { images, pool, counts, depth };
}

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
  const waiting = Array.from({ length: 20 }, datagram);
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
  send(...Array.from({ length: 12 }, datagram).flatMap(packets => packets.slice(1)));
  await until('all have come', () => counts().held === 24);
  t.ok(counts().waiting <= 10, `${counts().waiting} are held`);
  await until('none waits', () => counts().waiting === 0 && depth() === 0, undefined, 30_000);
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
  neighbour();
  send(first!, ...datagram());
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
  t.ok(await pool.drained(10_000), 'nothing else waits');
  t.equal(depth(), 2);
  await pool.stop();
});
