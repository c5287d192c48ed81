/**
 * `npm run bench:targets [-- --json --rounds N --sample-ms N --targets 1,100,...]`: packets through magmark's daemon (queue,
 * core, rules) with so many targets, against those with one. All run side by side, each in network namespaces of its own,
 * and take turns in every round. Needs root and a C compiler. Exit 1 if a target is missed.
 */
import Table from 'cli-table3';
import { type Figures, figures, ratios } from './figures.js';
import { removedAtEnd } from './interrupted.js';
import { Progress } from './progress.js';
import { compile } from './queue/compile.js';
import { type Crowd, crowd } from './queue/many.js';
import { saturate } from './queue/measure.js';
import type { QueueNetwork } from './queue/network.js';
import { byTurns } from './queue/rounds.js';
import { verdict } from './report/figure.js';
import { targetFigures } from './report/targets.js';
import { countOf, endWith, optionsOf } from './usage.js';

export interface TargetsReport {
  readonly rounds: number;
  readonly rows: readonly TargetsRow[];
}

export interface TargetsRow {
  readonly targets: number;
  /** Packets a second that reached the receiver. */
  readonly rate: Figures;
  /** To that of the first row, round by round. */
  readonly ratio: Figures;
}

interface Options {
  readonly json: boolean;
  readonly rounds: number;
  readonly milliseconds: number;
  readonly targets: readonly number[];
}

const ABOUT =
  "Packets through magmark's daemon (queue, core, rules) with so many targets, against those with one.\n" +
  'Takes about 1 minute. Needs root, and works in network namespaces of its own.';

/** @throws UsageError */
function options(): Options {
  const values = optionsOf('bench:targets', ABOUT, {
    json: { type: 'boolean', default: false, help: 'one JSON document' },
    rounds: { type: 'string', default: '9', help: 'rounds of each measurement' },
    'sample-ms': { type: 'string', default: '500', help: 'length of one measurement' },
    targets: { type: 'string', value: 'N,N,...', default: '1,100,1000,10000', help: 'numbers of targets' },
  });
  const count = (name: string, text: string) => countOf('bench:targets', name, text);
  return {
    json: values.json,
    rounds: count('rounds', values.rounds),
    milliseconds: count('sample-ms', values['sample-ms']),
    targets: values.targets.split(',').map(text => count('targets', text)),
  };
}

async function measure(
  { rounds, milliseconds, targets }: Options,
  made: QueueNetwork[],
): Promise<TargetsReport> {
  const compiled = compile();
  const crowds: Crowd[] = [];
  const progress = new Progress('bench:targets');
  progress.begin('starting daemons', targets.length);
  // One after the other: each start has the machine for itself.
  for (const count of targets) {
    crowds.push(await crowd(compiled, count, made));
    progress.step();
  }
  const networks = new Map(crowds.map(({ contestant, network }) => [contestant, network]));
  const contestants = crowds.map(({ contestant }) => contestant);
  // Once for nothing: compilers settle.
  for (const each of contestants) await saturate(networks.get(each)!, each, milliseconds);
  const rates = await byTurns(contestants, rounds, progress, 'packets a second', async each => {
    const { rate } = await saturate(networks.get(each)!, each, milliseconds);
    return rate;
  });
  progress.end();
  return {
    rounds,
    rows: crowds.map(({ targets }, at) => ({
      targets,
      rate: figures(rates[at]!),
      ratio: ratios(rates[at]!, rates[0]!),
    })),
  };
}

function textOf({ rows, rounds }: TargetsReport): string {
  const head = ['targets', 'kpps', 'of one target', 'least', 'most'];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const { targets, rate, ratio } of rows) {
    const share = [ratio.median, ratio.fastest, ratio.slowest].map(value => value.toFixed(2));
    table.push([targets, (rate.median / 1000).toFixed(0), ...share]);
  }
  return `${table}\nmedians of ${rounds}, interleaved`;
}

await endWith(async () => {
  const given = options();
  const made: QueueNetwork[] = [];
  return removedAtEnd(
    async () => {
      const report = await measure(given, made);
      console.log(given.json ? JSON.stringify(report) : textOf(report));
      return targetFigures(report).some(figure => verdict(figure) === 'MISSED') ? 1 : 0;
    },
    () => Promise.all(made.map(network => network.destroy())),
  );
});
