/** How looks at the kernel and changes of the configuration went, and what was mended, since the daemon started. */

import { cut, printable } from '../types/text.js';

/** Characters of a reason. */
const LONGEST = 300;

/** Runs of one thing. */
class Runs {
  succeeded = 0;
  failed = 0;
  /** Why the last one failed, on one line; null: it succeeded, or there was none. */
  fault: string | null = null;

  /** Whether the last one succeeded; true before the first. */
  get lastSucceeded(): boolean {
    return this.fault === null;
  }

  /** @throws what `step` throws, counted */
  async count<Result>(step: () => Promise<Result>): Promise<Result> {
    try {
      const result = await step();
      this.succeeded++;
      this.fault = null;
      return result;
    } catch (error) {
      this.failed++;
      this.fault = cut(printable((error as Error).message), LONGEST);
      throw error;
    }
  }
}

/** What the daemon mended of its own accord. */
class Repairs {
  /** Times at which something was mended. */
  times = 0;
  /** Settings, rules, routes, tables and neighbour entries. */
  changes = 0;
  lastAt: Date | null = null;
  /** Things whose repair does not help now. */
  vain: readonly string[] = [];

  count(changes: number): void {
    this.times++;
    this.changes += changes;
    this.lastAt = new Date();
  }
}

export class Tally {
  readonly repairs = new Repairs();
  /** Comparisons of everything with the kernel. */
  readonly looks = new Runs();
  /** Configurations that were to take the place of what ran. */
  readonly reloads = new Runs();

  /** What holds now. */
  warnings(): string[] {
    const { fault } = this.looks;
    return fault === null
      ? []
      : [
          `what the kernel holds could not be compared or repaired: ${fault}. It is tried again, each 30 s at the latest`,
        ];
  }
}
