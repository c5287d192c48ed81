/** How long decisions take, counted in the worker's own area. */
import { increment } from './count';
import { DecisionTimes, Limit, Region } from './layout';

/**
 * Count one decided batch by how long its decision took. The worker times a batch now and then, so no packet costs a look
 * at the clock.
 * @param count packets of the batch
 */
export function timed(worker: usize, count: u32, nanoseconds: u32): void {
  const times = changetype<DecisionTimes>(worker + Region.WorkerDecisionTimes);
  times.nanoseconds += <u64>nanoseconds;
  times.packets += <u64>count;
  // The exponent of the power of two that is not below.
  const exponent = nanoseconds <= 1 ? 0 : 32 - <i32>clz<u32>(nanoseconds - 1);
  const place = min<i32>(max<i32>(exponent - Limit.FirstDecisionTime, 0), Limit.DecisionTimes - 1);
  increment(changetype<usize>(times) + offsetof<DecisionTimes>(), <u32>place);
}
