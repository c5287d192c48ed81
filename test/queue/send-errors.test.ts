/** Verdicts that the kernel does not take at once, while fragments are held. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { datagram, layLink, send, start } from './fragment-link.js';
import { insideNamespace, until } from './namespace.js';

const SOURCE = fileURLToPath(new URL('../../../test/queue/failing-send.c', import.meta.url));
/** Of one send, in native/nfqueue.cc. */
const TRIES = 50;

if (process.env.FAILING_SEND === undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'magmark-send-'));
  process.on('exit', () => rmSync(directory, { recursive: true }));
  const library = join(directory, 'failing-send.so');
  const { status, stderr } = spawnSync('gcc', ['-shared', '-fPIC', '-o', library, SOURCE], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  process.env.FAILING_SEND = join(directory, 'words');
  writeFileSync(process.env.FAILING_SEND, Buffer.alloc(8));
  process.env.LD_PRELOAD = library;
}
await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

layLink();
const file = openSync(process.env.FAILING_SEND, 'r+');

/** The next `count` sends of verdicts fail. */
function fail(count: number, error: 'ENOBUFS' | 'EAGAIN' | 'ENOMEM' | 'EINTR' | 'EPERM'): void {
  writeSync(file, Buffer.from(Uint32Array.of(count, constants.errno[error]).buffer), 0, 8, 0);
}

t.test(
  'a send that the kernel has no memory for is tried again, and what is held is counted once',
  async t => {
    const { pool, counts, depth } = await start();
    const errors = ['ENOBUFS', 'EAGAIN', 'ENOMEM', 'EINTR'] as const;
    let retries = 0;
    // Held and others in one batch, the one released by the other in one, and in turns: the shim refuses to
    // answer more than it holds.
    for (const [round, error] of errors.entries()) {
      const [first, ...later] = datagram();
      const packets = pool.statistics()[0]!.packets;
      fail(round + 1, error);
      send(...later, ...datagram());
      await until(
        'all others are answered',
        () => pool.statistics()[0]!.packets === packets + 5 && depth() === 2,
      );
      t.equal(counts().waiting, 2);
      fail(TRIES - 1, error);
      send(first!);
      await until('none waits', () => depth() === 0);
      retries += round + TRIES;
    }
    t.equal(pool.restarts, 0);
    await pool.stop();
    const { shim } = pool.statistics()[0]!;
    t.match(shim, { packets: 24, verdicts: 24, verdictErrors: 0, sendRetries: retries });
  },
);

for (const [error, tries] of [
  ['ENOBUFS', TRIES],
  ['EPERM', 1],
] as const) {
  t.test(`a worker whose verdicts fail with ${error} dies, holds nothing, and serves again`, async t => {
    const told: { message: string; waiting: number }[] = [];
    const { images, pool, counts, depth } = await start({
      onFailure: (_, { message }) => told.push({ message, waiting: counts().waiting }),
    });
    send(...datagram().slice(1));
    await until('both are held', () => counts().waiting === 2);
    const [first, ...later] = datagram();
    fail(tries, error);
    send(first!);
    await until('another one serves', () => pool.restarts === 1 && pool.statistics()[0]!.bound);
    t.match(told, [
      { message: new RegExp(`^queue 0: answer 1 packets and 0 that were held: ${error}$`), waiting: 0 },
    ]);
    t.equal(counts().waiting, 0, 'the kernel dropped them with the socket');
    t.equal(depth(), 0);
    const before = images.targetCounters.read('s/1');
    send(...later, ...datagram().toReversed());
    await until('all are answered', () => images.targetCounters.read('s/1') === before + 5);
    t.equal(counts().followed, 2, 'a decision outlives the worker that made it');
    await until('none waits', () => depth() === 0);
    await pool.stop();
    t.equal(pool.restarts, 1);
    t.equal(pool.statistics()[0]!.shim.verdictErrors, 0);
  });
}
