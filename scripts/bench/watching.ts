/**
 * What it costs a worker that its packets can be watched: the loop of decisions without a trace, with one off, with one that
 * wants none of the packets, and with one that wants all.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseTraceFlow } from '../../host/trace/filter.js';
import { Tracer } from '../../host/trace/tracer.js';
import { decideBatches, decideWatchedBatches, type Workload } from './workload.js';

export interface Watching {
  readonly packetsPerSample: number;
  /** Nanoseconds a packet, medians. */
  readonly without: number;
  readonly off: number;
  /** With a trace whose one flow matches no packet. */
  readonly unmatched: number;
  readonly on: number;
  /** Median over the rounds of the time with a trace off over that without one. */
  readonly ratioOff: number;
  /** Of the medians. */
  readonly ratioOn: number;
}

/** The difference is small: many short samples, of which few are disturbed. */
const SHORTER = 20;
/** What fits the rings, so that records are written and not lost. */
const BATCHES_ON = 1600;
/** The main thread empties the rings meanwhile. */
const EMPTYING_MS = 200;

/** No packet of a workload comes from there (RFC 5737). */
const ELSEWHERE = { srcs: '203.0.113.1/32' };

/** @param median of samples */
export async function measureWatching(
  workload: Workload,
  rounds: number,
  sampleMs: number,
  median: (samples: readonly number[]) => number,
): Promise<Watching> {
  const perPacket = (run: (workload: Workload, batches: number) => void, batches: number): number => {
    run(workload, workload.areas);
    const from = process.hrtime.bigint();
    run(workload, batches);
    return Number(process.hrtime.bigint() - from) / (batches * workload.core.Limit.Batch);
  };
  const calibration = perPacket(decideBatches, BATCHES_ON) * workload.core.Limit.Batch;
  const batches = Math.max(workload.areas, Math.round((sampleMs * 1e6) / SHORTER / calibration));
  const without: number[] = [];
  const off: number[] = [];
  for (let round = 0; round < rounds * SHORTER; round++) {
    if (round % 2 === 0) without.push(perPacket(decideBatches, batches));
    off.push(perPacket(decideWatchedBatches, batches));
    if (round % 2 === 1) without.push(perPacket(decideBatches, batches));
  }
  const tracer = new Tracer({ images: workload.images, firstQueue: 0 });
  const other = await tracer.open({ flows: [parseTraceFlow('other', ELSEWHERE)], snapLength: 0 });
  const unmatched = Array.from({ length: rounds }, () => perPacket(decideWatchedBatches, BATCHES_ON));
  await other.close();
  const reader = await tracer.open({ flows: [], snapLength: 0 });
  const read = (async () => {
    for await (const _ of reader);
  })();
  const on: number[] = [];
  for (let round = 0; round < rounds; round++) {
    on.push(perPacket(decideWatchedBatches, BATCHES_ON));
    await delay(EMPTYING_MS);
  }
  await reader.close();
  await read;
  return {
    packetsPerSample: batches * workload.core.Limit.Batch,
    without: median(without),
    off: median(off),
    unmatched: median(unmatched),
    on: median(on),
    ratioOff: median(off.map((nanoseconds, round) => nanoseconds / without[round]!)),
    ratioOn: median(on) / median(without),
  };
}
