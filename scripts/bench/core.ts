/**
 * `npm run bench:core [-- --json --rounds N --sample-ms N --loop-packets N --most-flows N]`: the decision in Wasm beside that
 * of one flow in C at -O3, in nanoseconds a packet; what images and tables cost to build. Exit 1 if Wasm and C decide one
 * packet differently, or if the loop makes garbage.
 */
import { type Building, measureBuilding } from './building.js';
import { type Changed, measureChanged } from './changed.js';
import { measureRow, OneFlow, type Row } from './decision.js';
import { type Figures, median } from './figures.js';
import { type Garbage, measureGarbage } from './garbage.js';
import { Opponent } from './opponent.js';
import { Progress } from './progress.js';
import { CASES, ONE_FLOW } from './shape.js';
import { type Table as MeasuredTable, measureTables } from './tables.js';
import { tableOf } from './text-table.js';
import { countOf, endWith, optionsOf } from './usage.js';
import { measureWatching, type Watching } from './watching.js';
import { decideBatches, workloadOf } from './workload.js';

export interface CoreReport {
  readonly ok: boolean;
  readonly compiler: string;
  readonly node: string;
  readonly rounds: number;
  readonly rows: readonly Row[];
  readonly changed: Changed;
  readonly tables: readonly MeasuredTable[];
  readonly building: readonly Building[];
  readonly watching: Watching;
  readonly garbage: Garbage;
}

const BUILT_FLOWS = [1000, 10_000, 100_000];
/** Each of their samples is an image of hundreds of tables. */
const MOST_TABLE_ROUNDS = 5;
/** What the measurement itself leaves in the heap; 3,125 batches of one small object each leave 127 KB. */
const MOST_HEAP_GROWTH_BYTES = 65_536;

async function bench(
  rounds: number,
  sampleMs: number,
  loopPackets: number,
  mostFlows: number,
): Promise<CoreReport> {
  const workload = workloadOf(ONE_FLOW[4], 4, 1);
  const opponent = Opponent.compile(workload.core);
  try {
    const oneFlow = new OneFlow(opponent, sampleMs);
    const progress = new Progress('bench:core');
    const cases = CASES.filter(({ flows }) => flows <= mostFlows);
    progress.begin('decisions', cases.length);
    const rows = cases.map(each => {
      const row = measureRow(each, opponent, oneFlow, rounds, sampleMs);
      progress.step();
      return row;
    });
    progress.begin('garbage, traces, tables and images', 5);
    // All of the rows' rounds have warmed the loop: what it still allocates, it allocates for ever.
    const batches = Math.ceil(loopPackets / workload.core.Limit.Batch);
    const garbage = await measureGarbage(
      () => decideBatches(workload, batches),
      batches * workload.core.Limit.Batch,
    );
    progress.step();
    const watching = await measureWatching(workload, rounds, sampleMs, median);
    progress.step();
    const changed = measureChanged(rounds, sampleMs);
    progress.step();
    const tables = await measureTables(Math.min(rounds, MOST_TABLE_ROUNDS));
    progress.step();
    const building = measureBuilding(BUILT_FLOWS.filter(flows => flows <= mostFlows));
    progress.step();
    progress.end();
    const clean = garbage.collections === 0 && garbage.heapGrowthBytes <= MOST_HEAP_GROWTH_BYTES;
    const ok = rows.every(row => row.agree) && clean && garbage.control > 0;
    const { compiler } = opponent;
    return {
      ok,
      compiler,
      node: process.version,
      rounds,
      rows,
      changed,
      tables,
      building,
      watching,
      garbage,
    };
  } finally {
    opponent.close();
  }
}

function range({ fastest, slowest }: Figures): string {
  return `${fastest.toFixed(1)} to ${slowest.toFixed(1)}`;
}

/** Beside what is aimed at. */
function beside(target: number | null): string {
  return target === null ? '' : `at most ${target}`;
}

function decisions(rows: readonly Row[]): string {
  return tableOf(
    [
      '',
      'flows',
      'Wasm',
      'fastest to slowest',
      'C, one flow',
      'ratio',
      'target',
      'C, same flows',
      'decisions',
    ],
    rows.map(({ shape, flows, wasm, c, ratio, target, cSameFlows, agree }) => [
      shape,
      flows,
      wasm.median.toFixed(1),
      range(wasm),
      c.median.toFixed(1),
      ratio.toFixed(2),
      beside(target),
      cSameFlows.toFixed(0),
      agree ? 'the same' : 'DIFFERENT',
    ]),
  );
}

function text(report: CoreReport): string {
  const { rows, changed, tables, building, watching, garbage, compiler, node, rounds } = report;
  const abouts = new Map(rows.map(({ shape, about }) => [shape, about]));
  return [
    `Nanoseconds for one packet's decision: medians of ${rounds} samples taken by turns, packets spread evenly over the flows.`,
    decisions(rows),
    ...[...abouts].map(([shape, about]) => `${shape}: ${about}.`),
    'The ratio is the median of the rounds\' ratios to C with one flow; "C, same flows" tries them one after the other (one sample).',
    `Node.js ${node}; ${compiler}.`,
    '',
    `Slots that have another target than before (IPv4, 1 flow): ${changed.none.median.toFixed(1)} with none, ` +
      `${changed.others.median.toFixed(1)} where all others have (median of the ratios ${changed.ratioOthers.toFixed(3)}), ` +
      `${changed.all.median.toFixed(1)} where the packets' own have (${changed.ratioAll.toFixed(2)}).`,
    '',
    'Milliseconds to build tables:',
    tableOf(
      ['', 'median', 'fastest to slowest', 'target'],
      tables.map(({ name, time, targetMs }) => [name, time.median.toFixed(2), range(time), beside(targetMs)]),
    ),
    'Milliseconds to build an image, and bytes a flow in it: of records (and four tables), and of the classifier besides.',
    tableOf(
      ['', 'flows', 'records, ms', 'classifier, ms', 'records, bytes', 'classifier, bytes'],
      building.map(({ shape, flows, recordsMs, classifierMs, recordBytes, classifierBytes }) => [
        shape,
        flows,
        recordsMs.toFixed(0),
        classifierMs.toFixed(0),
        recordBytes.toFixed(0),
        classifierBytes.toFixed(0),
      ]),
    ),
    `Watching (IPv4, 1 flow): ${watching.without.toFixed(1)} without, ${watching.off.toFixed(1)} with a trace that is off ` +
      `(median of the ratios ${watching.ratioOff.toFixed(3)}), ${watching.unmatched.toFixed(1)} with one that wants none of the packets, ` +
      `${watching.on.toFixed(1)} with one of every packet.`,
    `Garbage: ${garbage.collections} collections and ${garbage.heapGrowthBytes} bytes of heap growth over ` +
      `${garbage.packets} decisions (control: ${garbage.control} seen when garbage was made on purpose). The loop is the benchmark's own: decide, without the queue.`,
  ].join('\n');
}

const ABOUT =
  'The decision in Wasm beside that of one flow in C, in nanoseconds a packet; what images and tables cost to build.\n' +
  'Takes about 4 minutes. Needs a C compiler.';

/** @throws UsageError */
function options() {
  const { json, ...texts } = optionsOf('bench:core', ABOUT, {
    json: { type: 'boolean', default: false, help: 'one JSON document' },
    rounds: { type: 'string', default: '9', help: 'rounds of each measurement' },
    'sample-ms': { type: 'string', default: '60', help: 'length of one measurement' },
    'loop-packets': { type: 'string', default: '5000000', help: 'decisions in the search for garbage' },
    'most-flows': { type: 'string', default: '100000', help: 'cases with more flows are left out' },
  });
  const count = (name: keyof typeof texts) => countOf('bench:core', name, texts[name]);
  return {
    json,
    counts: [count('rounds'), count('sample-ms'), count('loop-packets'), count('most-flows')] as const,
  };
}

await endWith(async () => {
  const { json, counts } = options();
  const report = await bench(...counts);
  console.log(json ? JSON.stringify(report) : text(report));
  return report.ok ? 0 : 1;
});
