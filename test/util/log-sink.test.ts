import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { LogSink } from '../../host/util/log-sink.js';

/** A pipe with a name, whose reader is this test. */
function pipe(t: Test): { reader: number; writer: number } {
  const path = join(t.testdir(), 'fifo');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  // It waits, as a shell's pipe does.
  const writer = openSync(path, constants.O_WRONLY);
  t.teardown(() => closeSync(writer));
  return { reader, writer };
}

function readAll(reader: number): string {
  const pieces: Buffer[] = [];
  const piece = Buffer.alloc(65_536);
  try {
    for (let bytes = readSync(reader, piece); bytes > 0; bytes = readSync(reader, piece))
      pieces.push(Buffer.from(piece.subarray(0, bytes)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  }
  return Buffer.concat(pieces).toString('utf8');
}

t.test('a reader that stops costs lines, which are counted, and no time', { timeout: 120_000 }, async t => {
  const { reader, writer } = pipe(t);
  const told: number[] = [];
  const sink = new LogSink(writer, { mostBytes: 10_000, onDropped: dropped => told.push(dropped) });
  const line = (n: number): string => `${String(n).padStart(99, '0')}\n`;
  for (let n = 0; n < 5000; n++) sink.write(line(n));
  t.ok(sink.isStuck);
  t.ok(sink.dropped > 3000, 'a pipe has 64 KiB');
  t.strictSame(told, [], 'nobody could read it');
  let text = '';
  for (const end = Date.now() + 60_000; told.length === 0 && Date.now() < end; await delay(5))
    text += readAll(reader);
  text += readAll(reader);
  const { dropped } = sink;
  t.strictSame(told, [dropped]);
  t.notOk(sink.isStuck);
  const kept = 5000 - dropped;
  t.equal(
    text,
    Array.from({ length: kept }, (_, n) => line(n)).join(''),
    'the first ones are whole and in order',
  );
  sink.write(line(1));
  t.equal(readAll(reader), line(1));
  closeSync(reader);
});

t.test('a reader that is gone costs lines and nothing else; a new one gets the next', async t => {
  const { reader, writer } = pipe(t);
  const told: number[] = [];
  const sink = new LogSink(writer, { onDropped: dropped => told.push(dropped) });
  const path = join(t.testdirName, 'fifo');
  closeSync(reader);
  sink.write('one\n');
  sink.write('two\n');
  t.equal(sink.dropped, 2);
  t.notOk(sink.isStuck);
  const next = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  sink.write('three\n');
  t.strictSame(told, [2]);
  t.equal(readAll(next), 'three\n');
  closeSync(next);
});

t.test('the descriptor of others waits as before', async t => {
  const { reader, writer } = pipe(t);
  new LogSink(writer).write('line\n');
  const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${writer}`, 'utf8'))![1]!;
  t.equal(Number.parseInt(flags, 8) & constants.O_NONBLOCK, 0);
  closeSync(reader);
});

t.test('a file gets its lines where others write too', async t => {
  const path = join(t.testdir(), 'log');
  const descriptor = openSync(path, 'w');
  const sink = new LogSink(descriptor);
  sink.write('one\n');
  execFileSync('sh', ['-c', 'echo two'], { stdio: ['ignore', descriptor, 'inherit'] });
  sink.write('three\n');
  t.equal(readFileSync(path, 'utf8'), 'one\ntwo\nthree\n');
  closeSync(descriptor);
});

/** A process whose log nobody reads, over a socket, as journald has it, or a pipe. */
for (const how of ['socket', 'pipe'] as const) {
  t.test(`a process ends though nobody reads its log: ${how}`, { timeout: 120_000 }, async t => {
    const module = new URL('../../host/util/log-sink.js', import.meta.url).href;
    const program = `
      import { LogSink } from '${module}';
      const sink = new LogSink(2);
      process.on('exit', () => sink.flush());
      for (let n = 0; n < 100000; n++) sink.write('x'.repeat(99) + '\\n');
      process.stdout.write(String(sink.dropped));
    `;
    const env = { ...process.env, NODE_OPTIONS: '' };
    const argv = ['--input-type=module', '-e', program];
    const child =
      how === 'socket'
        ? spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] })
        : spawn('sh', ['-c', '{ "$0" "$@" 2>&1 >&3 3>&- | sleep 100; } 3>&1', process.execPath, ...argv], {
            env,
            stdio: ['ignore', 'pipe', 'inherit'],
            detached: true,
          });
    let text = '';
    child.stdout!.on('data', chunk => {
      text += chunk;
    });
    await new Promise(resolve => child.stdout!.once('end', resolve).once('data', resolve));
    if (how === 'socket') t.equal(await new Promise(resolve => child.once('exit', resolve)), 0);
    else process.kill(-child.pid!, 'SIGKILL');
    t.ok(Number(text) > 10_000, 'what nobody reads is dropped');
  });
}
