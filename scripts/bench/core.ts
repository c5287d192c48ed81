/**
 * `npm run bench:core [-- --json --rounds N --sample-ms N --loop-packets N]`: the decision in Wasm beside the same decision in C at -O3,
 * in nanoseconds a packet. Exit 1 if they decide one packet differently, or if the loop makes garbage.
 */
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { MagmarkError } from '../../host/types/errors.js';
import { type Garbage, measureGarbage } from './garbage.js';
import { Opponent } from './opponent.js';
import { measureWatching, type Watching } from './watching.js';
import { decideBatches, descriptorsOf, type Workload, workloadOf } from './workload.js';

interface Figures {
  readonly median: number;
  readonly fastest: number;
  readonly slowest: number;
  readonly samples: readonly number[];
}

interface Row {
  readonly family: 4 | 6;
  readonly flows: number;
  readonly packetsPerSample: number;
  readonly differentPackets: number;
  /** Nanoseconds a packet. */
  readonly wasm: Figures;
  readonly c: Figures;
  /** Median over the rounds of Wasm's time over C's. */
  readonly ratio: number;
  /** Both sides wrote the same descriptors. */
  readonly agree: boolean;
}

interface Report {
  readonly ok: boolean;
  readonly compiler: string;
  readonly node: string;
  readonly rounds: number;
  readonly rows: readonly Row[];
  readonly watching: Watching;
  readonly garbage: Garbage;
}

const FAMILIES = [4, 6] as const;
const FLOWS = [1, 100, 1000] as const;
const CALIBRATION_BATCHES = 200;
/** What the measurement itself leaves in the heap; 3,125 batches of one small object each leave 127 KB. */
const MOST_HEAP_GROWTH_BYTES = 65_536;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

function figures(samples: readonly number[]): Figures {
  return { median: median(samples), fastest: Math.min(...samples), slowest: Math.max(...samples), samples };
}

/** Nanoseconds of Wasm for `batches` batches. */
function measureWasm(workload: Workload, batches: number): number {
  decideBatches(workload, (batches >> 2) + workload.areas); // caches and branch predictors, as in core.c
  const from = process.hrtime.bigint();
  decideBatches(workload, batches);
  return Number(process.hrtime.bigint() - from);
}

/** The samples of one case; the two sides take turns, and the first turn changes hands. */
function measureRow(workload: Workload, opponent: Opponent, rounds: number, sampleMs: number): Row {
  const perPacket = (nanoseconds: number, batches: number) =>
    nanoseconds / (batches * workload.core.Limit.Batch);
  // Before this side has decided: the other gets no answer to agree with.
  opponent.load(workload);
  decideBatches(workload, workload.areas);
  const agree = descriptorsOf(workload).equals(opponent.descriptors(workload));
  const batchNs = measureWasm(workload, CALIBRATION_BATCHES) / CALIBRATION_BATCHES;
  const batches = Math.max(workload.areas, Math.round((sampleMs * 1e6) / batchNs));
  const wasm: number[] = [];
  const c: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) wasm.push(perPacket(measureWasm(workload, batches), batches));
    c.push(perPacket(opponent.measure(workload, batches), batches));
    if (round % 2 === 1) wasm.push(perPacket(measureWasm(workload, batches), batches));
  }
  return {
    family: workload.family,
    flows: workload.flows,
    packetsPerSample: batches * workload.core.Limit.Batch,
    differentPackets: workload.areas * workload.core.Limit.Batch,
    wasm: figures(wasm),
    c: figures(c),
    ratio: median(wasm.map((nanoseconds, round) => nanoseconds / c[round]!)),
    agree,
  };
}

async function bench(rounds: number, sampleMs: number, loopPackets: number): Promise<Report> {
  const workloads = FAMILIES.flatMap(family => FLOWS.map(flows => workloadOf(family, flows)));
  const opponent = Opponent.compile(workloads[0]!.core);
  try {
    const rows = workloads.map(workload => measureRow(workload, opponent, rounds, sampleMs));
    // All of the rows' rounds have warmed the loop: what it still allocates, it allocates for ever.
    const batches = Math.ceil(loopPackets / workloads[0]!.core.Limit.Batch);
    const garbage = await measureGarbage(
      () => decideBatches(workloads[0]!, batches),
      batches * workloads[0]!.core.Limit.Batch,
    );
    const watching = await measureWatching(workloads[0]!, rounds, sampleMs, median);
    const clean = garbage.collections === 0 && garbage.heapGrowthBytes <= MOST_HEAP_GROWTH_BYTES;
    const ok = rows.every(row => row.agree) && clean && garbage.control > 0;
    return { ok, compiler: opponent.compiler, node: process.version, rounds, rows, watching, garbage };
  } finally {
    opponent.close();
  }
}

function text({ rows, watching, garbage, compiler, node, rounds }: Report): string {
  const range = ({ fastest, slowest }: Figures) => `${fastest.toFixed(1)} to ${slowest.toFixed(1)}`;
  const table = new Table({
    head: ['', 'flows', 'Wasm', 'fastest to slowest', 'C -O3', 'fastest to slowest', 'Wasm / C', 'decisions'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const { family, flows, wasm, c, ratio, agree } of rows)
    table.push([
      `IPv${family}`,
      flows,
      wasm.median.toFixed(1),
      range(wasm),
      c.median.toFixed(1),
      range(c),
      ratio.toFixed(2),
      agree ? 'the same' : 'DIFFERENT',
    ]);
  return [
    `Nanoseconds for one packet's decision: medians of ${rounds} samples taken by turns, packets spread evenly over the flows.`,
    table.toString(),
    `Wasm / C is the median of the rounds' ratios. Node.js ${node}; ${compiler}.`,
    `Watching (IPv4, 1 flow): ${watching.without.toFixed(1)} without, ${watching.off.toFixed(1)} with a trace that is off ` +
      `(median of the ratios ${watching.ratioOff.toFixed(3)}), ${watching.on.toFixed(1)} with one of every packet.`,
    `Garbage: ${garbage.collections} collections and ${garbage.heapGrowthBytes} bytes of heap growth over ` +
      `${garbage.packets} decisions (control: ${garbage.control} seen when garbage was made on purpose). The loop is the benchmark's own: decide, without the queue.`,
  ].join('\n');
}

/** @throws UsageError */
function optionsOf(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        json: { type: 'boolean', default: false },
        rounds: { type: 'string', default: '9' },
        'sample-ms': { type: 'string', default: '60' },
        'loop-packets': { type: 'string', default: '5000000' },
      },
    });
    const count = (name: 'rounds' | 'sample-ms' | 'loop-packets'): number => {
      if (!/^[1-9][0-9]{0,9}$/.test(values[name]))
        throw new Error(`--${name} takes a number from 1 on, not ${values[name]}`);
      return Number(values[name]);
    };
    return {
      json: values.json,
      counts: [count('rounds'), count('sample-ms'), count('loop-packets')] as const,
    };
  } catch (error) {
    throw new UsageError(`bench:core: ${(error as Error).message}`);
  }
}

class UsageError extends MagmarkError {
  readonly code = 'USAGE';
  override readonly exitCode = 2;
}

try {
  const { json, counts } = optionsOf(process.argv.slice(2));
  const report = await bench(...counts);
  console.log(json ? JSON.stringify(report) : text(report));
  if (!report.ok) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof MagmarkError)) throw error;
  console.error(error.message);
  process.exitCode = error.exitCode;
}
