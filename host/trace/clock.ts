/** Workers tell times of the monotonic clock, which all threads share; people want the time of day. */

/** Beyond this the time of day was set since the process started. */
const MOST_DRIFT_MS = 2;

/**
 * From nanoseconds of `process.hrtime` to microseconds since 1970. Order and distances are those of the monotonic clock; the
 * time of day is right to 2 ms when this is called.
 */
export function wallClock(): (monotonicNs: number) => number {
  const monotonicUs = Number(process.hrtime.bigint()) / 1000;
  const precise = performance.timeOrigin + performance.now();
  const now = Date.now();
  const wallMs = Math.abs(precise - now) > MOST_DRIFT_MS ? now : precise;
  const offsetUs = wallMs * 1000 - monotonicUs;
  return monotonicNs => Math.round(monotonicNs / 1000 + offsetUs);
}
