/** When a target's checks are due: one an interval, those of many targets spread over it. */

/** New targets begin this far apart, or closer where they would not all begin within the interval. */
const START_GAP_MS = 0.25;

/** Fractional part of the golden ratio: its multiples, modulo 1, lie evenly spread however many there are. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** Milliseconds until the first check of the `index`-th of `count` targets that are new together. */
export function startDelay(index: number, count: number, intervalMs: number): number {
  return index * Math.min(START_GAP_MS, intervalMs / count);
}

/**
 * From the first check, which is early, to the second: half an interval to one and a half, so that what began together
 * is spread from then on.
 * @param ordinal  number of targets before this one, ever
 */
export function spreadDelay(ordinal: number, intervalMs: number): number {
  return intervalMs * (0.5 + ((ordinal * GOLDEN) % 1));
}

/**
 * The time after `due` at which the next check is due. It depends on no timer's delay, so nothing drifts; checks whose
 * time has passed while one was under way are left out, all but the last.
 */
export function nextDue(due: number, now: number, intervalMs: number): number {
  const missed = Math.max(0, Math.floor((now - due) / intervalMs) - 1);
  return due + (missed + 1) * intervalMs;
}
