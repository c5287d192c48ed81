/** `npm run bench` as a whole: what it writes, and that it leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { ladderSection } from '../../scripts/bench/report/queue.js';
import { waitFor } from '../../scripts/lab/wait.js';

const BENCH = fileURLToPath(new URL('../../scripts/bench/bench.js', import.meta.url));
const SKIP = process.getuid?.() === 0 ? false : 'network namespaces are made by root';
const READY_MS = 30_000;

/** What is left of a run can be told from other runs: it has folders of its own. */
async function start(t: { teardown: (work: () => unknown) => void }, ...options: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'mm-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const temporary = join(folder, 't');
  await mkdir(temporary);
  const runs = join(folder, 'runs');
  const env = { ...process.env, MAGMARK_DEMO_DIRECTORY: runs, TMPDIR: temporary };
  const output = join(folder, 'docs');
  // tap has each Node under it catch signals by what it puts there: one that computes would see none before it is done.
  const words = ['-u', 'NODE_OPTIONS', process.execPath, BENCH, '--output', output, ...options];
  const child = spawn('env', words, { env, stdio: 'ignore' });
  return { child, ended: once(child, 'exit'), temporary, runs, output };
}

t.test('it writes a document of what it measured', { skip: SKIP }, async t => {
  const { ended, output, temporary } = await start(t, '--quick', '--only', 'rules,targets,cli');
  t.strictSame(await ended, [0, null]);
  const text = readFileSync(join(output, 'benchmarks.md'), 'utf8');
  for (const title of [
    'The rules of many targets',
    'Packets through magmark by the number of targets',
    'Subcommands',
  ])
    t.match(text, `## ${title}`);
  t.ok(existsSync(join(output, 'benchmarks', 'forwarding-by-targets.svg')));
  t.strictSame(readdirSync(temporary), []);
});

t.test('a SIGTERM ends what it has started, and nothing is left', { skip: SKIP }, async t => {
  const { child, ended, runs, temporary, output } = await start(t, '--only', 'queue');
  const id = await waitFor('packets to go', READY_MS, () => {
    if (!existsSync(runs)) return null;
    return readdirSync(runs).find(name => existsSync(join(runs, name, 'magmark.log')));
  });
  t.ok(existsSync(`/run/netns/${id}-lb`));
  child.kill('SIGTERM');
  t.strictSame(await ended, [143, null]);
  t.notOk(existsSync(runs));
  t.notOk(readdirSync('/run/netns').some(name => name.startsWith(id)));
  t.strictSame(readdirSync(temporary), []);
  t.notOk(existsSync(output), 'no document of half a measurement');
});

t.test('nor where a part is ended amid its work', { skip: SKIP }, async t => {
  const { child, ended, temporary } = await start(t, '--only', 'core');
  await waitFor('the program in C', READY_MS, () =>
    readdirSync(temporary, { recursive: true }).some(name => String(name).endsWith('.memory')),
  );
  child.kill('SIGINT');
  t.strictSame(await ended, [130, null]);
  t.strictSame(readdirSync(temporary), []);
});

t.test(
  'the ladder says which setting was faster in every round, and of none that it was by chance',
  async t => {
    const step = (axis: string, ...samples: readonly number[]) => {
      const [fastest, median, slowest] = samples as [number, number, number];
      const ratio = { fastest, median, slowest, samples };
      return { axis, rate: ratio, ratio, systemCalls: 1, p50: 1, p99: 1, tcp: ratio };
    };
    const methodOf = (...ladder: readonly ReturnType<typeof step>[]) =>
      ladderSection({ ok: true, figures: [], ladder, compiler: 'cc', node: 'v20', rounds: 3 }).method;
    const first = step('first', 1, 1, 1);
    t.match(methodOf(first, step('by chance', 0.99, 1.2, 1.3)), 'no other was faster in every round');
    t.match(
      methodOf(first, step('by chance', 0.99, 1.2, 1.3), step('spin', 1.01, 1.02, 1.1)),
      'faster in every round: spin.',
    );
  },
);
