/**
 * `npm run bench:cli [-- --json --rounds N]`: what each subcommand of nfqlb takes more than `node -e 0`, each a cold process
 * against a running `nfqlb flowlb` with 100 flows, one after the other in every round. Exit 1 if a median is above the
 * limit. As root: the queue is bound in a network namespace of its own.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { ask } from '../../host/control/client.js';
import { NFQLB } from '../lab/daemon.js';
import { waitFor } from '../lab/wait.js';
import { median } from './figures.js';
import { Progress } from './progress.js';
import { countOf, endWith, optionsOf } from './usage.js';

const LIMIT_MS = 70;
const ROUNDS = 15;
const FLOWS = 100;
const READY_MS = 20_000;

/** In an order in which all succeed, over and over. */
const COMMANDS: readonly string[] = [
  'version',
  'primebelow 10000',
  'init --shm=s --M=10000 --N=100',
  'activate --shm=s --index=43 5044',
  'show --shm=s',
  'fwmark --shm=s --proto=tcp --src=10.0.0.1:5000 --dst=20.0.0.1:4000',
  'deactivate --shm=s --index=43',
  'delete --shm=s',
  'stats',
  'flow-set --name=f --target=nfqlb --prio=1 --protocols=tcp --dsts=20.0.0.1/32,2000::1/128 --dports=4000',
  'flow-list',
  'flow-list-names',
  'flow-delete --name=f',
  'trace-flow-set --name=t --srcs=10.0.0.0/8',
  'trace-flow-list',
  'trace-flow-list-names',
  'trace-flow-delete --name=t',
  'loglevel',
];

export interface CliReport {
  readonly ok: boolean;
  readonly rounds: number;
  /** Of `node -e 0`, milliseconds. */
  readonly nodeMs: number;
  readonly limitMs: number;
  readonly rows: readonly { readonly command: string; readonly moreMs: number }[];
}

interface Sample {
  readonly bare: number;
  readonly command: number;
}

const ABOUT =
  'Milliseconds that each nfqlb command takes beyond `node -e 0`. Takes about 1 minute. Needs root.';

type Environment = Readonly<Record<string, string | undefined>>;

/** Milliseconds of one process. */
function time(args: readonly string[], environment: Environment): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { env: environment, encoding: 'utf8' });
  const milliseconds = performance.now() - start;
  if (status !== 0) throw new Error(`${args.join(' ')}: exit ${status}: ${stderr}`);
  return milliseconds;
}

await endWith(async () => {
  const values = optionsOf('bench:cli', ABOUT, {
    json: { type: 'boolean', default: false, help: 'one JSON document' },
    rounds: { type: 'string', default: `${ROUNDS}`, help: 'rounds of each measurement' },
  });
  const rounds = countOf('bench:cli', 'rounds', values.rounds);
  const directory = mkdtempSync(join(tmpdir(), 'mm-'));
  const socket = join(directory, 's');
  const environment = { ...process.env, MAGMARK_SOCKET: socket };
  const options = ['--net', process.execPath, NFQLB, 'flowlb', '--queue=0'];
  const flowlb = spawn('unshare', options, { env: environment, stdio: 'ignore' });
  try {
    await waitFor('flowlb to answer', READY_MS, () => {
      if (flowlb.exitCode !== null) throw new Error(`flowlb ended with ${flowlb.exitCode}: it needs root`);
      return ask(socket, '/v1/streams').catch(() => null);
    });
    const init = { name: 'nfqlb', own: 0, tableSize: 997, maxTargets: 32 };
    await ask(socket, '/v1/streams', JSON.stringify({ init }));
    for (let n = 0; n < FLOWS; n++) {
      const set = { name: `flow-${n}`, target: 'nfqlb', dsts: [`20.0.1.${n}/32`] };
      await ask(socket, '/v1/flows', JSON.stringify({ set }));
    }
    // Beside each other, so that both meet the same load.
    const samples = COMMANDS.map((): Sample[] => []);
    const progress = new Progress('bench:cli');
    progress.begin('commands', rounds * COMMANDS.length);
    for (let round = 0; round < rounds; round++)
      for (const [at, command] of COMMANDS.entries()) {
        samples[at]!.push({
          bare: time(['-e', '0'], environment),
          command: time([NFQLB, ...command.split(' ')], environment),
        });
        progress.step();
      }
    progress.end();
    const rows = COMMANDS.map((command, at) => ({
      command,
      moreMs: median(samples[at]!.map(each => each.command)) - median(samples[at]!.map(each => each.bare)),
    }));
    const base = median(samples.flat().map(({ bare }) => bare));
    const ok = rows.every(({ moreMs }) => moreMs <= LIMIT_MS);
    const report: CliReport = { ok, rounds, nodeMs: base, limitMs: LIMIT_MS, rows };
    if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    else {
      const table = new Table({ head: ['nfqlb', 'ms more'], style: { head: [], border: [] } });
      for (const { command, moreMs } of rows) table.push([command.split(' ')[0], moreMs.toFixed(1)]);
      process.stdout.write(
        `${table}\nnode -e 0: ${base.toFixed(1)} ms; medians of ${rounds}; limit ${LIMIT_MS} ms: ${ok ? 'kept' : 'BROKEN'}\n`,
      );
    }
    return ok ? 0 : 1;
  } finally {
    flowlb.kill('SIGTERM');
    if (flowlb.exitCode === null && flowlb.signalCode === null) await once(flowlb, 'exit');
    rmSync(directory, { recursive: true, force: true });
  }
});
