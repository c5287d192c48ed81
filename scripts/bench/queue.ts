/**
 * `npm run bench:queue [-- --json --ladder --profile --nfqlb PATH --rounds N --sample-ms N]`: packets through one queue, by
 * magmark as it ships, beside programs in C that do nothing but answer, and beside plain forwarding. Needs root, a C
 * compiler and, for system calls and the profile, perf; it works in network namespaces of its own. Exit 1 if a target is missed.
 */
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { EnvironmentError } from '../../host/types/errors.js';
import { NFQLB } from '../lab/daemon.js';
import { meets } from './figures.js';
import { removedAtEnd } from './interrupted.js';
import { Progress } from './progress.js';
import { type Compiled, compile } from './queue/compile.js';
import { BATCHED, inC, nfqlb, PLAIN_FORWARDING, removeTables, SINGLE } from './queue/contestant.js';
import { measureLadder } from './queue/ladder.js';
import {
  AGAIN_NAME,
  BATCHED_NAME,
  figuresOf,
  latencyCurves,
  MAGMARK,
  SINGLE_NAME,
  SPIN_MICROSECONDS,
  SPINNING,
} from './queue/named.js';
import { QueueNetwork } from './queue/network.js';
import { profile } from './queue/profile.js';
import {
  contestantsText,
  ladderText,
  profileText,
  type QueueReport,
  targetsText,
  tripsText,
} from './queue/report.js';
import { measureAll, type Span } from './queue/rounds.js';
import { countOf, endWith, optionsOf, UsageError } from './usage.js';

interface Options extends Span {
  readonly json: boolean;
  readonly ladder: boolean;
  readonly profile: boolean;
  readonly nfqlb: string | null;
}

const ABOUT =
  'Packets through one queue: magmark beside C programs that only answer, and beside plain forwarding.\n' +
  'Takes about 7 minutes, with --ladder 20. Needs root, and works in network namespaces of its own.';

/** @throws UsageError */
function options(): Options {
  const {
    rounds,
    'sample-ms': milliseconds,
    nfqlb = null,
    ...flags
  } = optionsOf('bench:queue', ABOUT, {
    json: { type: 'boolean', default: false, help: 'one JSON document' },
    ladder: { type: 'boolean', default: false, help: 'the C program with one option changed at a time' },
    profile: { type: 'boolean', default: false, help: "where the worker's time goes, by perf" },
    nfqlb: { type: 'string', value: 'PATH', help: 'an nfqlb to measure beside magmark' },
    rounds: { type: 'string', default: '9', help: 'rounds of each measurement' },
    'sample-ms': { type: 'string', default: '500', help: 'length of one measurement' },
  });
  if (nfqlb !== null) refuseNoProgram(nfqlb);
  return {
    ...flags,
    nfqlb,
    rounds: countOf('bench:queue', 'rounds', rounds),
    milliseconds: countOf('bench:queue', 'sample-ms', milliseconds),
  };
}

/** Before networks are laid for it. @throws UsageError */
function refuseNoProgram(path: string): void {
  try {
    accessSync(path, constants.X_OK);
    if (statSync(path).isFile()) return;
  } catch (error) {
    throw new UsageError(`bench:queue: --nfqlb: ${path} cannot be started: ${(error as Error).message}`);
  }
  throw new UsageError(`bench:queue: --nfqlb: ${path} cannot be started: it is no file`);
}

/**
 * How often a worker's thread collected garbage so far, by what `--trace-gc` wrote: each line names its isolate, and the
 * main thread's is the first.
 */
function collections(logFile: string): number {
  const isolates = [
    ...readFileSync(logFile, 'utf8').matchAll(/^\[[0-9]+:(0x[0-9a-f]+)\] +[0-9]+ ms: /gm),
  ].map(([, isolate]) => isolate);
  return isolates.filter(isolate => isolate !== isolates[0]).length;
}

/** @returns what to print, and whether all targets were met */
async function bench(
  network: QueueNetwork,
  compiled: Compiled,
  options: Options,
  progress: Progress,
): Promise<{ text: string; report: QueueReport }> {
  const common = { compiler: compiled.compiler, node: process.version, rounds: options.rounds };
  const machine = `Medians of ${options.rounds} rounds, taken by turns. Node.js ${common.node}; ${common.compiler}, -O3.`;
  if (options.ladder) {
    const ladder = await measureLadder(network, compiled, options, progress);
    return {
      text: `${ladderText(ladder)}\n${machine}`,
      report: { ok: true, figures: [], ladder, ...common },
    };
  }
  const magmark = await nfqlb(network, MAGMARK, 10, [process.execPath, '--trace-gc', NFQLB], network.id);
  if (options.profile) {
    const shares = await profile(network, magmark, options.milliseconds);
    if (shares === null) throw new EnvironmentError('a profile needs perf (Debian package linux-perf)');
    return { text: profileText(shares), report: { ok: true, figures: [], profile: shares, ...common } };
  }
  const contestants = [
    PLAIN_FORWARDING,
    inC(network, compiled, SINGLE_NAME, 1, SINGLE),
    inC(network, compiled, BATCHED_NAME, 2, BATCHED),
    inC(network, compiled, AGAIN_NAME, 3, SINGLE),
    magmark,
    await nfqlb(network, SPINNING, 12, [process.execPath, NFQLB], `${network.id}-spin`, [
      `--spin=${SPIN_MICROSECONDS}`,
    ]),
  ];
  if (options.nfqlb !== null)
    contestants.push(await nfqlb(network, 'nfqlb', 11, [options.nfqlb], `${network.id}-nfqlb`));
  const before = collections(magmark.logFile);
  // The worker's own start makes garbage.
  if (before === 0) throw new Error(`no collection was seen in ${magmark.logFile}: --trace-gc says nothing`);
  const measured = await measureAll(network, contestants, options, progress);
  const named = figuresOf(measured, collections(magmark.logFile) - before);
  const shares = await profile(network, magmark, options.milliseconds);
  const text = [
    contestantsText(measured),
    tripsText(measured),
    targetsText(named),
    ...(shares === null ? [] : [profileText(shares)]),
    `${machine} Ratios are medians of the rounds' ratios; latencies are judged without what plain forwarding takes.`,
  ];
  return {
    text: text.join('\n'),
    report: {
      ok: named.every(meets),
      figures: named,
      profile: shares,
      latencies: latencyCurves(measured),
      ...common,
    },
  };
}

async function main(): Promise<number> {
  const given = options();
  const compiled = compile();
  const network = new QueueNetwork(compiled);
  const measure = async (): Promise<number> => {
    const progress = new Progress('bench:queue');
    progress.begin('preparing networks', 1);
    await network.create();
    const { text, report } = await bench(network, compiled, given, progress);
    progress.end();
    console.log(given.json ? JSON.stringify(report) : text);
    return report.ok ? 0 : 1;
  };
  return removedAtEnd(measure, async () => {
    await network.destroy();
    removeTables(`${network.id}-nfqlb`);
  });
}

await endWith(main);
