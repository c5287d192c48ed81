/** How long each part of a change takes, for the log. */
export class Stopwatch {
  private readonly began = performance.now();
  private last = this.began;
  private readonly laps = new Map<string, number>();

  /** What happened since the lap before is called `part`. */
  lap(part: string): void {
    const now = performance.now();
    this.laps.set(part, (this.laps.get(part) ?? 0) + now - this.last);
    this.last = now;
  }

  /** Whole ms of each part, and of all. */
  milliseconds(): Record<string, number> {
    const all: [string, number][] = [...this.laps, ['all', performance.now() - this.began]];
    return Object.fromEntries(all.map(([part, milliseconds]) => [part, Math.round(milliseconds)]));
  }
}
