/** The benchmark of the queue works; its times are nobody's business here. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { NamedFigure } from '../../scripts/bench/figures.js';
import { LADDER } from '../../scripts/bench/queue/ladder.js';
import type { QueueReport } from '../../scripts/bench/queue/report.js';
import { queueSections } from '../../scripts/bench/report/queue.js';
import { waitFor } from '../../scripts/lab/wait.js';

const benchmark = (name: string) => fileURLToPath(new URL(`../../scripts/bench/${name}.js`, import.meta.url));
const QUICK = ['--rounds', '1', '--sample-ms', '50'];
const SKIP = process.getuid?.() === 0 ? false : 'network namespaces are made by root';
const READY_MS = 20_000;

const folder = await mkdtemp(join(tmpdir(), 'mm-'));
t.teardown(() => rm(folder, { recursive: true }));
/** So that what is left of a run can be told from other runs. */
const env = { ...process.env, MAGMARK_DEMO_DIRECTORY: join(folder, 'runs') };

function run(
  name: string,
  ...options: readonly string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise(resolve => {
    execFile(process.execPath, [benchmark(name), ...options], { env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr }),
    );
  });
}

t.test('every contestant passes packets, and nothing is left behind', { skip: SKIP }, async t => {
  const { code, stdout, stderr } = await run('queue', ...QUICK, '--json');
  t.ok(code <= 1, stderr);
  const report = JSON.parse(stdout) as QueueReport;
  const named = new Map((report.figures as NamedFigure[]).map(each => [each.name, each]));
  for (const name of ['plain forwarding', 'C, one verdict a packet', 'C, batched', 'magmark']) {
    t.ok(named.get(`packets a second, ${name}`)!.value > 0, name);
    t.ok(named.get(`TCP, ${name}`)!.value > 0, `TCP, ${name}`);
    if (name !== 'plain forwarding') t.ok(named.has(`added p99 at 1000 packets/s, ${name}`));
  }
  const targets = [...named.values()].flatMap(({ name, target }) => (target === null ? [] : [name]));
  t.ok(targets.includes('packets a second, magmark to C, batched'), targets.join('; '));
  const [section] = queueSections(report);
  t.equal(section!.figures.length, report.figures.length);
  t.notOk(existsSync(env.MAGMARK_DEMO_DIRECTORY));
});

t.test('a Ctrl-C removes everything', { skip: SKIP }, async t => {
  const child = spawn(process.execPath, [benchmark('queue')], { env, stdio: 'ignore' });
  const ended = once(child, 'exit');
  // Magmark's log is there: all of the network stands, and packets go.
  const id = await waitFor('the network to stand', READY_MS, () => {
    if (!existsSync(env.MAGMARK_DEMO_DIRECTORY)) return null;
    const runs = readdirSync(env.MAGMARK_DEMO_DIRECTORY).filter(name => /^mm-[0-9a-f]+$/.test(name));
    return runs.find(name => existsSync(join(env.MAGMARK_DEMO_DIRECTORY, name, 'magmark.log')));
  });
  t.ok(existsSync(`/run/netns/${id}-lb`));
  child.kill('SIGINT');
  t.strictSame(await ended, [130, null]);
  t.notOk(existsSync(env.MAGMARK_DEMO_DIRECTORY));
  t.strictSame(
    readdirSync('/run/netns').filter(name => name.startsWith(id)),
    [],
  );
});

t.test('the first rung of the ladder is what magmark does', async t => {
  t.strictSame(LADDER[0]!.options, [
    ...['--batch', '64', '--receive', 'recvmmsg', '--verdicts', 'concatenated'],
  ]);
  t.equal(new Set(LADDER.map(({ axis }) => axis)).size, LADDER.length);
});

t.test('options that make no sense are refused', async t => {
  const absurd = [['--rounds', '0'], ['--sample-ms', 'x'], ['--jsn']];
  const noPrograms = [
    ['--nfqlb', '/nonexistent'],
    ['--nfqlb', '/tmp'],
  ];
  for (const [name, options] of [
    ['queue', [...absurd, ...noPrograms]],
    ['targets', [...absurd, ['--targets', '1,,100']]],
    ['rules', [['--rounds', '0'], ['--targets', '1,,100'], ['--shapes', '2'], ['--jsn']]],
    ['cli', [['--rounds', '0'], ['--jsn']]],
    ['classifier', [['--pairs', 'all'], ['--jsn']]],
  ] as const)
    for (const option of options) {
      const { code, stderr } = await run(name, ...option);
      t.equal(code, 2, `${name} ${option.join(' ')}`);
      t.match(stderr, new RegExp(`^bench:${name}: [^\\n]*\\n$`));
    }
});
