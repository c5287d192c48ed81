/** How long to wait before something that failed is tried again: longer each time. */

const FIRST_MS = 100;
const LONGEST_MS = 10_000;
/** What ran this long begins anew. */
const STEADY_MS = 10_000;

export class Backoff {
  private waitMs = FIRST_MS;

  /** @param ranMs how long the last try lasted. @returns ms to wait before the next */
  next(ranMs: number): number {
    if (ranMs >= STEADY_MS) this.waitMs = FIRST_MS;
    const wait = this.waitMs;
    this.waitMs = Math.min(wait * 2, LONGEST_MS);
    return wait;
  }
}
