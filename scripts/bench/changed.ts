/** What slots cost that have another target than before, and what those cost beside them that have not. */

import { batchesOf, measureWasm } from './decision.js';
import { type Figures, figures, median } from './figures.js';
import { ONE_FLOW } from './shape.js';
import { descriptorsOf, type Workload, workloadOf } from './workload.js';

export interface Changed {
  /** Nanoseconds a packet: no slot has changed; all have but those of the packets; those of the packets have. */
  readonly none: Figures;
  readonly others: Figures;
  readonly all: Figures;
  /** Medians of the rounds' ratios to `none`. */
  readonly ratioOthers: number;
  readonly ratioAll: number;
}

/** The bit of a slot that has changed; see CHANGED in assembly/layout.ts. */
const CHANGED = 0x8000;
const SETS = 1024;
/** Differences are small: many short samples, of which few are disturbed. */
const SHORTER = 10;

export function measureChanged(rounds: number, sampleMs: number): Changed {
  const cases = [marked(() => false), marked(hit => !hit), marked(hit => hit)];
  const batches = batchesOf(cases[0]!, sampleMs / SHORTER);
  const samples: number[][] = cases.map(() => []);
  for (let round = 0; round < rounds * SHORTER; round++)
    for (let turn = 0; turn < cases.length; turn++) {
      const which = (round + turn) % cases.length;
      samples[which]!.push(measureWasm(cases[which]!, batches));
    }
  const [none, others, all] = samples as [number[], number[], number[]];
  return {
    none: figures(none),
    others: figures(others),
    all: figures(all),
    ratioOthers: median(others.map((nanoseconds, round) => nanoseconds / none[round]!)),
    ratioAll: median(all.map((nanoseconds, round) => nanoseconds / none[round]!)),
  };
}

/** One flow; slots marked as `isMarked` says, by whether a packet of the workload hits them, and an empty table of connections. */
function marked(isMarked: (hit: boolean) => boolean): Workload {
  const workload = workloadOf(ONE_FLOW[4], 4, 1);
  const { core, memory, images } = workload;
  measureWasm(workload, workload.areas);
  const descriptors = descriptorsOf(workload);
  const stream = images.current!.streams[0]!;
  const hits = new Set<number>();
  for (let at = 0; at < descriptors.length; at += core.Region.DescriptorSize)
    hits.add(descriptors.readUInt32LE(at + core.Layout.DescriptorHash) % stream.tableSize);
  const slots = images.table(stream);
  slots.forEach((slot, index) => {
    if (isMarked(hits.has(index))) slots[index] = slot | CHANGED;
  });
  const view = new DataView(memory.buffer);
  const bytes = SETS * 4 * core.Layout.ConnectionBytes;
  const connections = images.arena.allocate(bytes);
  new Uint8Array(memory.buffer, connections, bytes).fill(0);
  for (let area = 0; area < workload.areas; area++) {
    const state = core.Region.Workers + area * core.Region.WorkerSize + core.Region.WorkerState;
    view.setUint32(state + core.Layout.WorkerConnections, connections, true);
    view.setUint32(state + core.Layout.WorkerConnectionMask, SETS - 1, true);
  }
  return workload;
}
