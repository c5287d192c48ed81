/** The decision of one workload in Wasm, beside that of one flow in C. */
import { type Figures, figures, median } from './figures.js';
import type { Opponent } from './opponent.js';
import { type Case, ONE_FLOW } from './shape.js';
import { decideBatches, descriptorsOf, type Workload, workloadOf } from './workload.js';

export interface Row {
  readonly shape: string;
  readonly about: string;
  readonly family: 4 | 6;
  readonly flows: number;
  readonly packetsPerSample: number;
  readonly differentPackets: number;
  /** Nanoseconds a packet. */
  readonly wasm: Figures;
  /** C with one flow of the same family. */
  readonly c: Figures;
  /** Median over the rounds of Wasm's time over that of C with one flow. */
  readonly ratio: number;
  /** What the ratio shall not be above; null: nothing is promised. */
  readonly target: number | null;
  /** C with the same flows, one after the other: one sample. */
  readonly cSameFlows: number;
  /** Both sides wrote the same descriptors. */
  readonly agree: boolean;
}

const CALIBRATION_BATCHES = 200;

/** Nanoseconds a packet of Wasm for `batches` batches. */
export function measureWasm(workload: Workload, batches: number): number {
  decideBatches(workload, (batches >> 2) + workload.areas); // caches and branch predictors, as in core.c
  const from = process.hrtime.bigint();
  decideBatches(workload, batches);
  return Number(process.hrtime.bigint() - from) / (batches * workload.core.Limit.Batch);
}

/** Batches that take about `sampleMs`. */
export function batchesOf(workload: Workload, sampleMs: number): number {
  const batchNs = measureWasm(workload, CALIBRATION_BATCHES) * workload.core.Limit.Batch;
  return Math.max(workload.areas, Math.round((sampleMs * 1e6) / batchNs));
}

/** C with one flow, as often as it is asked. */
export class OneFlow {
  private readonly workloads = ([4, 6] as const).map(family => workloadOf(ONE_FLOW[family], family, 1));

  constructor(
    private readonly opponent: Opponent,
    private readonly sampleMs: number,
  ) {
    for (const workload of this.workloads) opponent.load(workload);
  }

  /** Nanoseconds a packet. */
  measure(family: 4 | 6): number {
    const workload = this.workloads.find(each => each.family === family)!;
    const batches = Math.max(workload.areas, Math.round((this.sampleMs * 1e6) / 2500));
    return this.opponent.measure(workload, batches) / (batches * workload.core.Limit.Batch);
  }
}

/** The samples of one case; the two sides take turns, and the first turn changes hands. */
export function measureRow(
  { shape, family, flows, target }: Case,
  opponent: Opponent,
  oneFlow: OneFlow,
  rounds: number,
  sampleMs: number,
): Row {
  const workload = workloadOf(shape, family, flows);
  // Before this side has decided: the other gets no answer to agree with.
  opponent.load({ ...workload, shape: 'compared' });
  decideBatches(workload, workload.areas);
  const agree = descriptorsOf(workload).equals(opponent.descriptors({ ...workload, shape: 'compared' }));
  const cSameFlows =
    opponent.measure({ ...workload, shape: 'compared' }, workload.areas) /
    (workload.areas * workload.core.Limit.Batch);
  opponent.unload({ ...workload, shape: 'compared' });
  const batches = batchesOf(workload, sampleMs);
  const wasm: number[] = [];
  const c: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) wasm.push(measureWasm(workload, batches));
    c.push(oneFlow.measure(family));
    if (round % 2 === 1) wasm.push(measureWasm(workload, batches));
  }
  return {
    shape: shape.name,
    about: shape.about,
    family,
    flows,
    packetsPerSample: batches * workload.core.Limit.Batch,
    differentPackets: workload.areas * workload.core.Limit.Batch,
    wasm: figures(wasm),
    c: figures(c),
    ratio: median(wasm.map((nanoseconds, round) => nanoseconds / c[round]!)),
    target,
    cSameFlows,
    agree,
  };
}
