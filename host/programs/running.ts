/** Programs that run now: how long each has taken, and the end of all of them when the daemon stops. */

export interface Running {
  readonly program: string;
  /** For messages. */
  readonly line: string;
  /** By `performance.now()`. */
  readonly began: number;
  /** End it at once. @param why for its error */
  readonly kill: (why: string) => void;
}

/** While the daemon stops, one program takes half of the time that is left: what follows it has the other half. */
const SHARE = 2;
/** A program that hangs is known only after this time, however late the stop is. */
const LEAST_MS = 200;

class Programs {
  private readonly running = new Set<Running>();
  /** By `performance.now()`; the daemon has stopped by then. */
  private deadline = Number.POSITIVE_INFINITY;

  add(running: Running): void {
    this.running.add(running);
  }

  delete(running: Running): void {
    this.running.delete(running);
  }

  /** Those that have run for longer than `leastMs`, the oldest first: `nft has not ended for 12 s`. */
  slow(leastMs: number): string[] {
    const now = performance.now();
    return [...this.running]
      .filter(({ began }) => now - began > leastMs)
      .map(({ program, began }) => `${program} has not ended for ${Math.floor((now - began) / 1000)} s`);
  }

  /** How long a program may take that is started now. */
  boundMs(wanted: number): number {
    return Math.min(wanted, this.shareMs());
  }

  /** The daemon stops: programs that follow share the time until `deadline`. */
  endBy(deadline: number): void {
    this.deadline = Math.min(deadline, this.deadline);
  }

  /** Those that run now have this much more time. */
  endPresent(ms: number): void {
    const present = [...this.running];
    const end = (): void => {
      for (const running of present) running.kill(`no end ${ms} ms after the stop began`);
    };
    setTimeout(end, ms).unref();
  }

  private shareMs(): number {
    return Math.max((this.deadline - performance.now()) / SHARE, LEAST_MS);
  }
}

/** Of this process. */
export const programs = new Programs();
