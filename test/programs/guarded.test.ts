import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { Guarded, type GuardFiles } from '../../host/programs/guarded.js';
import { waitFor } from '../../scripts/lab/wait.js';

const BOUND_MS = 10_000;
const directory = mkdtempSync(join(tmpdir(), 'magmark-guarded-'));
t.teardown(() => rmSync(directory, { recursive: true }));

let instances = 0;
function files(): GuardFiles {
  const name = join(directory, `${instances++}`);
  return { alive: `${name}.alive`, output: `${name}.output` };
}

function lives(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

const SLEEPER = ['-c', 'echo $$; exec sleep 1000'] as const;
const MODULE = new URL('../../host/programs/guarded.js', import.meta.url).href;

/** Another process that does `work` with a `Guarded` and stays. */
function holder(t: Test, guard: GuardFiles, work: string) {
  const program = `
    import { Guarded } from '${MODULE}';
    const files = ${JSON.stringify(guard)};
    ${work}
    setInterval(() => {}, 1000);
  `;
  const env = { ...process.env, NODE_OPTIONS: '' };
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', line => lines.push(line));
  return { child, lines };
}

const STARTS = `await Guarded.start(files, 'sh', ${JSON.stringify(SLEEPER)}, line => console.log(line));`;

t.test('its lines arrive, and its end is told in words', async t => {
  const lines: string[] = [];
  const started = (program: string, ...args: string[]) =>
    Guarded.start(files(), program, args, line => lines.push(line));
  t.equal(await (await started('sh', '-c', 'echo one; echo two >&2; exit 3')).ended, 'exit code 3');
  t.strictSame(lines.splice(0), ['one', 'two']);
  t.equal(await (await started('sh', '-c', 'kill -TERM $$')).ended, 'signal SIGTERM');
  t.equal(await (await started('no-such-program')).ended, 'no-such-program is not installed');
});

t.test('kill ends it at once, also by one that has only joined', async t => {
  const lines: string[] = [];
  const guard = files();
  const guarded = await Guarded.start(guard, 'sh', SLEEPER, line => lines.push(line));
  await waitFor('its pid', BOUND_MS, () => lines.length > 0);
  const joined = Guarded.join(guard, 'sh', () => {})!;
  joined.kill();
  // The guard tells it once, to whoever reads first.
  const told = await Promise.all([guarded.ended, joined.ended]);
  t.ok(told.includes('signal SIGKILL'), told.join(', '));
  t.notOk(existsSync(`/proc/${lines[0]}`), 'and its guard has waited for it');
});

t.test('it dies with the only process that is in charge', async t => {
  const { child, lines } = holder(t, files(), STARTS);
  await waitFor('its pid', BOUND_MS, () => lines.length > 0);
  const pid = Number(lines[0]);
  t.ok(lives(pid));
  child.kill('SIGKILL');
  await waitFor('its end', BOUND_MS, () => !lives(pid));
  t.pass('it ended');
});

t.test('it outlives who started it while another one is in charge', async t => {
  const guard = files();
  const { child, lines } = holder(t, guard, STARTS);
  await waitFor('its pid', BOUND_MS, () => lines.length > 0);
  const pid = Number(lines[0]);
  const joined = Guarded.join(guard, 'sh', () => {})!;
  const ended = new Promise(resolve => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  const second = Guarded.join(guard, 'sh', () => {})!;
  t.ok(lives(pid));
  t.notOk(joined.hasEnded);
  second.leave();
  joined.leave();
  await waitFor('its end', BOUND_MS, () => !lives(pid));
  t.pass('and ends when that one leaves');
});

t.test('it dies with its guard', async t => {
  const lines: string[] = [];
  const guarded = await Guarded.start(files(), 'sh', SLEEPER, line => lines.push(line));
  await waitFor('its pid', BOUND_MS, () => lines.length > 0);
  const status = readFileSync(`/proc/${lines[0]}/status`, 'utf8');
  process.kill(Number(/^PPid:\s+(\d+)$/m.exec(status)![1]), 'SIGKILL');
  t.equal(await guarded.ended, 'its guard was killed');
});

t.test('where no guard has been there is nothing to join', async t => {
  t.equal(
    Guarded.join(files(), 'sh', () => {}),
    null,
  );
});

t.test('a program that prints while nobody reads is not held up', async t => {
  const done = join(directory, 'done');
  // Ten times what a FIFO holds.
  const prints =
    'i=0; while [ $i -lt 10000 ]; do echo "$1$1$1$1"; i=$((i+1)); done 2>/dev/null; : >"$0"; exit 7';
  const guarded = await Guarded.start(files(), 'sh', ['-c', prints, done, 'x'.repeat(20)], () => {});
  // No turn of the event loop: nothing is read.
  for (const end = Date.now() + 60_000; !existsSync(done) && Date.now() < end; );
  t.ok(existsSync(done));
  t.equal(await guarded.ended, 'exit code 7', "the guard's own line waits for room");
});
