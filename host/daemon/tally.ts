/** How looks at the kernel and changes of the configuration went, since the daemon started. */

/** Runs of one thing. */
class Runs {
  succeeded = 0;
  failed = 0;
  /** Whether the last one succeeded; true before the first. */
  lastSucceeded = true;

  /** @throws what `step` throws, counted */
  async count<Result>(step: () => Promise<Result>): Promise<Result> {
    try {
      const result = await step();
      this.succeeded++;
      this.lastSucceeded = true;
      return result;
    } catch (error) {
      this.failed++;
      this.lastSucceeded = false;
      throw error;
    }
  }
}

export class Tally {
  /** Comparisons of everything with the kernel. */
  readonly looks = new Runs();
  /** Configurations that were to take the place of what ran. */
  readonly reloads = new Runs();
}
