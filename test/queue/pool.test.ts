import { spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Test } from 'tap';
import { verdictCounts } from '../../host/core/counters.js';
import { workerArea } from '../../host/core/wasm.js';
import { WorkerPool } from '../../host/queue/pool.js';
import { leeway } from '../../scripts/lab/wait.js';
import { acceptingImage } from './accepting-image.js';
import { insideNamespace, queueUdp, until } from './namespace.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

const MARK = 5044;
/** Packets with this mark are dropped behind the queue: a flood has no receiver that takes time or refuses. */
const UNWANTED = 5045;
const LEAVE = fileURLToPath(new URL('./leave.js', import.meta.url));

/** Threads of a pool, in the order in which they were made. */
function spawnInto(threads: Worker[]) {
  return (...parameters: ConstructorParameters<typeof Worker>) => {
    const thread = new Worker(...parameters);
    threads.push(thread);
    return thread;
  };
}

async function receiver(port: number): Promise<{ socket: Socket; received: string[] }> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  const received: string[] = [];
  socket.on('message', message => received.push(message.toString()));
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, received };
}

t.test('packets go through the queue, the core and out with its mark', async t => {
  queueUdp('7100', 0, MARK);
  queueUdp('7101', 1, MARK);
  const { core, module, memory } = acceptingImage(2, MARK);
  const pool = await WorkerPool.start({
    core: { module, memory },
    queues: { first: 0, last: 1 },
    queueLength: 1024,
  });
  const ends = await Promise.all([7100, 7101].map(receiver));
  const sender = createSocket('udp4');
  for (let n = 0; n < 100; n++) {
    sender.send(`${n}`, 7100, '127.0.0.1');
    sender.send(`${n}`, 7101, '127.0.0.1');
  }
  await until('all arrive', () => ends.every(end => end.received.length === 100));
  const statistics = pool.statistics();
  t.match(statistics, [
    {
      queue: 0,
      bound: true,
      restarts: 0,
      packets: 100,
      kernel: { depth: 0, queueDropped: 0, userDropped: 0 },
    },
    { queue: 1, bound: true, restarts: 0, packets: 100 },
  ]);
  t.ok(statistics[0]!.bytes >= 100 * 29);
  await pool.stop();
  t.match(pool.statistics()[0], {
    bound: false,
    kernel: null,
    shim: { packets: 100, verdicts: 100, verdictErrors: 0 },
  });
  t.match(
    verdictCounts(core, memory, 0).filter(({ packets }) => packets > 0),
    [{ verdict: 'accept', reason: core.Reason.NoFlow, packets: 100 }],
    'the core gave each its verdict and reason',
  );
  sender.close();
  for (const { socket } of ends) socket.close();
});

/** The median: on a machine that others load, one stop in a few has to wait for a processor. */
function expectWithin100Ms(t: Test, times: readonly number[]): void {
  t.comment(`ms: ${times.map(time => time.toFixed(1)).join(' ')}`);
  const median = times.toSorted((one, other) => one - other)[times.length >> 1]!;
  t.ok(median < 100, `median ${median} ms`);
}

t.test('idle workers stop within 100 ms', async t => {
  const times: number[] = [];
  for (let n = 0; n < 10; n++) {
    const { module, memory } = acceptingImage(4, MARK);
    const pool = await WorkerPool.start({
      core: { module, memory },
      queues: { first: 10, last: 13 },
      queueLength: 1024,
    });
    const started = performance.now();
    await pool.stop();
    times.push(performance.now() - started);
  }
  expectWithin100Ms(t, times);
  const slowest = Math.max(...times);
  t.ok(slowest < 100 * (await leeway()), `slowest ${slowest} ms, of an idle machine`);
});

t.test('a queue that is held makes the start fail, and none stays bound', async t => {
  const image = acceptingImage(1, MARK);
  const holder = await WorkerPool.start({ core: image, queues: { first: 21, last: 21 }, queueLength: 8 });
  const start = WorkerPool.start({
    core: acceptingImage(3, MARK),
    queues: { first: 20, last: 22 },
    queueLength: 8,
  });
  await t.rejects(start, { name: 'KernelError', message: /^queue 21: bind: EPERM: it is held/ });
  const again = await WorkerPool.start({
    core: acceptingImage(1, MARK),
    queues: { first: 20, last: 20 },
    queueLength: 8,
  });
  await again.stop();
  await holder.stop();
});

t.test('no pool starts before an image is published', async t => {
  const image = acceptingImage(1, MARK);
  const { Region, Layout } = image.core;
  Atomics.store(new Int32Array(image.memory.buffer), (Region.Control + Layout.ControlGeneration) / 4, 0);
  await t.rejects(
    WorkerPool.start({ core: image, queues: { first: 20, last: 20 }, queueLength: 8 }),
    /no generation is published/,
  );
});

t.test('a worker that dies is restarted, counted, and serves again', async t => {
  queueUdp('7130', 30, MARK);
  const { socket, received } = await receiver(7130);
  const sender = createSocket('udp4');
  const image = acceptingImage(1, MARK);
  const epoch = (image.core.Region.Workers + image.core.Layout.WorkerEpoch) / 4;
  const threads: Worker[] = [];
  const causes: string[] = [];
  const logged: string[] = [];
  const pool = await WorkerPool.start({
    core: image,
    queues: { first: 30, last: 30 },
    queueLength: 1024,
    spawn: spawnInto(threads),
    onFailure: (queue, cause) => causes.push(`${queue}: ${cause.message}`),
    log: {
      info: (_, message) => logged.push(message),
      warn: (_, message) => logged.push(message),
      error: (_, message) => logged.push(message),
    },
  });
  for (let death = 1; death <= 3; death++) {
    Atomics.store(new Int32Array(image.memory.buffer), epoch, 1);
    await threads.at(-1)!.terminate();
    t.equal(Atomics.load(new Int32Array(image.memory.buffer), epoch), 0, 'its epoch holds up nobody');
    await until('the queue is bound again', () => pool.statistics()[0]!.bound);
    sender.send(`after death ${death}`, 7130, '127.0.0.1');
    await until('a packet arrives', () => received.includes(`after death ${death}`));
  }
  t.equal(pool.restarts, 3);
  t.strictSame(causes, Array(3).fill('30: queue 30: its worker ended unasked, exit code 1'));
  t.strictSame(logged, Array(3).fill(['worker died, restarting it', 'worker serves again']).flat());
  t.match(pool.statistics()[0], { restarts: 3, packets: 3 });
  await pool.stop();
  sender.close();
  socket.close();
});

t.test(
  'a worker that throws is restarted with its error told, and a stop during the back-off is at once',
  async t => {
    const threads: Worker[] = [];
    const causes: string[] = [];
    let waitsToLive = () => {};
    const backedOff = new Promise<void>(resolve => {
      waitsToLive = resolve;
    });
    const pool = await WorkerPool.start({
      core: acceptingImage(1, MARK),
      queues: { first: 31, last: 31 },
      queueLength: 8,
      // Each but the first life ends with an error before it binds.
      spawn: (file, options) =>
        spawnInto(threads)(
          threads.length === 0 ? file : new URL('data:text/javascript,throw new Error("broken")'),
          options,
        ),
      // Before any timer has its turn, however busy the machine is.
      onFailure: (_, cause) => {
        if (causes.push(cause.message) === 4) setImmediate(waitsToLive);
      },
    });
    await threads[0]!.terminate();
    await backedOff;
    t.equal(pool.restarts, 4);
    t.strictSame(causes.slice(1), ['broken', 'broken', 'broken']);
    let stopped = false;
    const stop = pool.stop().then(() => {
      stopped = true;
    });
    await new Promise(resolve => setImmediate(resolve));
    t.ok(stopped, 'at once');
    await stop;
    t.equal(threads.length, 4, 'and nobody lives again');
    t.equal(pool.statistics()[0]!.bound, false);
  },
);

for (const [way, code] of [
  ['exit', 7],
  ['throw', 1],
  ['reject', 1],
] as const) {
  t.test(`a process with bound workers ends by ${way} without hanging`, async t => {
    const child = spawn(process.execPath, [LEAVE, '40-43', way], { stdio: ['ignore', 'pipe', 'ignore'] });
    const deadline = setTimeout(() => child.kill('SIGKILL'), 30_000);
    const ended = once(child, 'exit');
    await Promise.race([once(child.stdout, 'data'), ended]);
    const started = performance.now();
    t.strictSame(await ended, [code, null]);
    const ms = performance.now() - started;
    clearTimeout(deadline);
    t.comment(`${ms.toFixed(0)} ms`);
    t.ok(ms < 1000 * (await leeway()));
  });
}

/** A process that floods a port; resolves once it has ended. */
async function flood(port: number, count: number): Promise<void> {
  const file = fileURLToPath(new URL('./flood.js', import.meta.url));
  const child = spawn(process.execPath, [file, `${port}`, `${count}`], { stdio: 'inherit' });
  await once(child, 'exit');
}

t.test('a busy worker stops within 100 ms, and all that it took has its verdict', async t => {
  queueUdp('7140', 45, MARK);
  const core = acceptingImage(1, UNWANTED);
  const times: number[] = [];
  for (let n = 0; n < 5; n++) {
    const pool = await WorkerPool.start({ core, queues: { first: 45, last: 45 }, queueLength: 1024 });
    const flooded = flood(7140, 20_000);
    const before = pool.statistics()[0]!.packets;
    await until('it is busy', () => pool.statistics()[0]!.packets > before + 1000);
    const started = performance.now();
    await pool.stop();
    times.push(performance.now() - started);
    const { shim } = pool.statistics()[0]!;
    t.equal(shim.verdicts, shim.packets);
    t.equal(shim.verdictErrors, 0);
    await flooded;
  }
  expectWithin100Ms(t, times);
});

t.test('workers whose packets, a few ms apart, cease as they are to stop do so within 100 ms', async t => {
  const ports = [7160, 7161, 7162, 7163];
  for (const [n, port] of ports.entries()) queueUdp(`${port}`, 60 + n, MARK);
  const core = acceptingImage(ports.length, UNWANTED);
  const sender = createSocket('udp4');
  const times: number[] = [];
  for (let n = 0; n < 5; n++) {
    const pool = await WorkerPool.start({ core, queues: { first: 60, last: 63 }, queueLength: 1024 });
    const traffic = setInterval(() => {
      for (const port of ports) sender.send('packet', port, '127.0.0.1');
    }, 3);
    // Until each waits in the call that receives, which no wake ends.
    await until('they are used to it', () => pool.statistics().every(({ shim }) => shim.packets >= 256));
    clearInterval(traffic);
    const started = performance.now();
    await pool.stop();
    times.push(performance.now() - started);
    for (const { shim } of pool.statistics())
      t.match(shim, { verdicts: shim.packets, verdictErrors: 0 }, 'all that they took has its verdict');
  }
  sender.close();
  expectWithin100Ms(t, times);
});

t.test(
  'fragments are filed by a seed that nobody can guess, another for each worker and each pool',
  async t => {
    const { core, module, memory } = acceptingImage(2, MARK);
    const view = new DataView(memory.buffer);
    const { Region, Layout } = core;
    const seeds = new Set<bigint>();
    for (let n = 0; n < 2; n++) {
      const pool = await WorkerPool.start({
        core: { module, memory },
        queues: { first: 70, last: 71 },
        queueLength: 64,
      });
      for (const worker of [0, 1])
        seeds.add(
          view.getBigUint64(workerArea(core, worker) + Region.WorkerFragments + Layout.FragmentsSeed, true),
        );
      await pool.stop();
    }
    t.equal(seeds.size, 4);
  },
);

t.test('under load packets share their system calls', async t => {
  queueUdp('7150', 50, MARK);
  const pool = await WorkerPool.start({
    core: acceptingImage(1, UNWANTED),
    queues: { first: 50, last: 50 },
    queueLength: 1024,
  });
  await flood(7150, 20_000);
  await until('all are answered', () => pool.statistics()[0]!.kernel?.depth === 0);
  await pool.stop();
  const { shim, packets } = pool.statistics()[0]!;
  const perPacket = shim.systemCalls / shim.packets;
  t.comment(`${packets} packets, ${shim.batches} batches, ${perPacket.toFixed(3)} system calls per packet`);
  t.equal(shim.packets, packets);
  t.equal(shim.verdicts, packets);
  t.equal(shim.verdictErrors, 0);
  t.ok(perPacket < 2, 'a lone packet costs four: send, receive, poll, receive');
});
