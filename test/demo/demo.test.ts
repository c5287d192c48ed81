/** scripts/demo, run for real, as a newcomer runs it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { REFERENCE_LOOKUP } from '../../scripts/lab/plan.js';
import { type RunState, thisProcess, visitorsOf } from '../../scripts/lab/run-state.js';
import { waitFor } from '../../scripts/lab/wait.js';

const DEMO = fileURLToPath(new URL('../../../scripts/demo', import.meta.url));
const STEP_MS = 60_000;

if (process.getuid?.() !== 0) {
  t.plan(0, 'root is needed for network namespaces');
  process.exit();
}

/** State of these runs alone: `--clean` must not touch what somebody kept on this machine. */
const directory = mkdtempSync(join(tmpdir(), 'magmark-demo-test-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

/** In the environment of every process that a run starts, set-up included. */
const TAG = `MAGMARK_DEMO_DIRECTORY=${directory}`;

class Run {
  stdout = '';
  stderr = '';
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  private readonly child: ChildProcess;

  constructor(args: readonly string[]) {
    // tap's own variables would have every node of the demonstration report to it.
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(_?TAP|NODE_OPTIONS|NODE_V8)/.test(name),
    );
    this.child = spawn(DEMO, args, {
      env: { ...Object.fromEntries(inherited), MAGMARK_DEMO_DIRECTORY: directory },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group of its own, as a shell gives one to a command.
      detached: true,
    });
    this.child.stdout!.on('data', chunk => (this.stdout += chunk));
    this.child.stderr!.on('data', chunk => (this.stderr += chunk));
    this.ended = new Promise(resolve => this.child.on('close', (code, signal) => resolve({ code, signal })));
  }

  /** Until a line of progress appears. */
  async says(text: string): Promise<void> {
    await waitFor(`"${text}"`, STEP_MS, () => {
      if (this.child.exitCode !== null) throw new Error(`the demonstration ended:\n${this.stderr}`);
      return this.stderr.includes(text);
    });
  }

  /** To the process group, as a terminal's Ctrl-C does, or to the script alone. */
  signal(signal: NodeJS.Signals, to: 'group' | 'script'): void {
    process.kill(to === 'group' ? -this.child.pid! : this.child.pid!, signal);
  }
}

const states = (): RunState[] =>
  existsSync(directory)
    ? readdirSync(directory)
        .filter(name => name.endsWith('.json'))
        .map(name => JSON.parse(readFileSync(join(directory, name), 'utf8')) as RunState)
    : [];

function processes(): string[] {
  return readdirSync('/proc')
    .filter(name => /^[0-9]+$/.test(name) && Number(name) !== process.pid)
    .filter(pid => readIfThere(`/proc/${pid}/environ`).split('\0').includes(TAG))
    .map(pid => readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' '));
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code!)) return '';
    throw error;
  }
}

/** What is there of a run: namespaces with its name, processes, files. */
function leftOf(run: Run): { namespaces: string[]; processes: string[]; files: string[] } {
  const id = /building the network (mm-[0-9a-f]+)/.exec(run.stderr)?.[1];
  const names = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return {
    namespaces: id === undefined ? [] : names.filter(name => name.startsWith(`${id}-`)),
    processes: processes(),
    files: existsSync(directory) ? readdirSync(directory) : [],
  };
}

const NOTHING = { namespaces: [], processes: [], files: [] };

t.test('the demonstration succeeds and says so in one JSON document', async t => {
  const run = new Run(['--json']);
  const { code } = await run.ended;
  t.equal(code, 0, run.stderr.slice(-2000));
  const document = JSON.parse(run.stdout);
  t.equal(document.ok, true);
  t.ok(['nft', 'xtables'].includes(document.carrier), `carrier ${document.carrier}`);
  t.strictSame(document.lookup, REFERENCE_LOOKUP);
  const answered = { attempted: 400, answered: 400, asPredicted: 400 };
  t.strictSame(document.tcp, { ipv4: answered, ipv6: answered });
  for (const family of ['ipv4', 'ipv6']) {
    t.ok(document.ping[family].attempted >= 64, `${family}: pings from every client`);
    t.equal(
      document.ping[family].answered,
      document.ping[family].attempted,
      `${family}: every ping is answered`,
    );
    t.ok(document.fragments[family].sent >= 64, `${family}: datagrams from every client`);
    t.equal(
      document.fragments[family].intact,
      document.fragments[family].sent,
      `${family}: every datagram is whole`,
    );
  }
  t.strictSame(
    document.targets.map(({ identifier, fwmark }: { identifier: number; fwmark: number }) => [
      identifier,
      fwmark,
    ]),
    [
      [44, 5044],
      [62, 5062],
      [69, 5069],
      [73, 5073],
    ],
  );
  const connections = document.targets.map((target: { connections: number }) => target.connections);
  t.equal(
    connections.reduce((sum: number, each: number) => sum + each),
    800,
    'every connection went to a target',
  );
  t.ok(Math.min(...connections) > 0, 'every target got connections');
  t.equal(document.reload.established, 200);
  t.equal(document.reload.survived, document.reload.predicted);
  t.ok(document.reload.predicted < 200, 'connections of the target that left did not survive');
  const route = 'via 169.254.100.150 dev ext-vlan0 proto bird metric 32 ';
  t.equal(document.bgp.egress.ipv4, `default ${route}\n`, "table 4096 is the reference's");
  t.match(document.bgp.routes.ipv4, '20.0.0.1 via 169.254.100.149 dev ext-vlan0', 'BGP told the gateway');
  t.match(document.bgp.routes.ipv6, '2000::1 via 100:100::149 dev ext-vlan0');
  t.ok(document.stop.withdrawnBeforeMs > 0, 'the VIPs are withdrawn before anything is removed');
  t.strictSame(leftOf(run), NOTHING);
});

/** What is said before everything is removed. */
const LAST_LINE = 'leaves nothing in the kernel';

/** Where a run is interrupted: the last line seen before, which signal, and who gets it. */
const MOMENTS: readonly (readonly [
  after: string,
  signal: NodeJS.Signals,
  to: 'group' | 'script',
  code: number,
])[] = [
  ['', 'SIGINT', 'group', 130],
  ['', 'SIGTERM', 'script', 143],
  ['building the network', 'SIGINT', 'group', 130],
  ['building the network', 'SIGINT', 'script', 130],
  ['starting magmark', 'SIGINT', 'group', 130],
  ['ready, pid', 'SIGTERM', 'group', 143],
  ['ping', 'SIGINT', 'script', 130],
  ['a target leaves', 'SIGINT', 'group', 130],
  ['stopping magmark', 'SIGTERM', 'script', 143],
  [LAST_LINE, 'SIGINT', 'group', 130],
  [LAST_LINE, 'SIGTERM', 'group', 143],
];
/** Signals come at a random moment within this after the line, so that many runs of this test meet many moments. */
const JITTER_MS = 250;

for (const [after, signal, to, code] of MOMENTS) {
  // The removal takes but a few of them.
  const jitterMs = randomInt(after === LAST_LINE ? JITTER_MS / 5 : JITTER_MS);
  const moment = `${jitterMs} ms after ${after === '' ? 'the start' : `"${after}"`}`;
  t.test(`${signal} to the ${to} leaves nothing behind, ${moment}`, async t => {
    const run = new Run(['--json']);
    await run.says(after);
    await new Promise(resolve => setTimeout(resolve, jitterMs));
    try {
      run.signal(signal, to);
    } catch (error) {
      // In its last moment a run may be gone before the signal is sent.
      if (after !== LAST_LINE || (error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    const ended = await run.ended;
    // Before the script's first lines are read, a signal ends the shell as it ends any.
    // In its last moment a run may end by itself before the signal comes.
    const finished = after === LAST_LINE && ended.code === 0;
    t.ok(
      finished || ended.code === code || ended.signal === signal,
      `exit code ${ended.code}, signal ${ended.signal}`,
    );
    if (after !== LAST_LINE) t.equal(run.stdout, '', 'an interrupted run prints no document');
    t.strictSame(leftOf(run), NOTHING);
  });
}

t.test('a kept run can be looked at with the commands that it prints, and is cleaned up', async t => {
  const run = new Run(['--json', '--keep']);
  t.equal((await run.ended).code, 0, run.stderr.slice(-2000));
  const { kept } = JSON.parse(run.stdout);
  for (const command of kept.commands.filter((line: string) => !line.includes('tcpdump'))) {
    const failure = await new Promise(resolve => execFile('sh', ['-c', command], resolve));
    t.equal(failure, null, command);
  }
  t.not(leftOf(run).namespaces.length, 0, 'it is left running');
  const stays = async (why: string) => {
    const early = new Run(['--clean']);
    t.equal((await early.ended).code, 0);
    t.match(early.stdout, new RegExp(`${kept.id} .*${why}.* and stays; .*--clean ${kept.id}`));
    t.not(leftOf(run).namespaces.length, 0, why);
  };
  const visitor = spawn('ip', ['netns', 'exec', kept.loadBalancer, 'sleep', '600']);
  await waitFor('somebody in a namespace of the run', STEP_MS, () => visitorsOf(states()[0]!).length > 0);
  await stays(`in use by pid ${visitor.pid}`);
  visitor.kill('SIGKILL');
  await once(visitor, 'exit');
  // This process lives, and is not of the session of a run's script.
  const [state] = states();
  const file = join(directory, `${kept.id}.json`);
  writeFileSync(file, JSON.stringify({ ...state, keptFor: thisProcess() }));
  await stays(`kept by another session \\(pid ${process.pid}\\)`);
  const unknown = new Run(['--clean', 'mm-nothing']);
  t.equal((await unknown.ended).code, 1);
  t.match(unknown.stdout, 'there is no run mm-nothing');
  t.not(leftOf(run).namespaces.length, 0, 'a name that does not exist removes nothing');
  const clean = new Run(['--clean', kept.id]);
  t.equal((await clean.ended).code, 0);
  t.match(clean.stdout, `${kept.id} was removed`);
  t.strictSame(leftOf(run), NOTHING);
});

t.test('--clean leaves a run alone until its owner is gone, and then removes it', async t => {
  const run = new Run(['--json']);
  await run.says('ready, pid');
  const [state] = states();
  const early = new Run(['--clean']);
  t.equal((await early.ended).code, 0);
  t.match(early.stdout, `${state!.id} still runs`);
  process.kill(state!.owner.pid, 'SIGKILL');
  await run.ended;
  t.not(leftOf(run).namespaces.length, 0, 'who is killed cannot clean up');
  const late = new Run(['--clean']);
  t.equal((await late.ended).code, 0);
  t.match(late.stdout, `${state!.id} was removed`);
  t.strictSame(leftOf(run), NOTHING);
});

t.test('an option that is not there is refused with the usage', async t => {
  for (const args of [['--jsn'], ['--clean', '--keep'], ['extra'], ['mm-3f9a1c']]) {
    const run = new Run(args);
    t.equal((await run.ended).code, 2, args.join(' '));
    t.match(run.stderr, 'usage: scripts/demo');
    t.equal(run.stdout, '');
  }
});

t.test('--help prints the usage', async t => {
  const run = new Run(['--help']);
  t.equal((await run.ended).code, 0);
  t.match(run.stdout, 'usage: scripts/demo');
});
