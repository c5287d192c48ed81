/**
 * Collapses lines that repeat: the first passes, the next ones within a window are counted, and one summary a window tells
 * how many there were. Contract of this room (host/util): what has no field of its own; it imports no other room.
 */
import { CLOCK, type Clock } from './clock.js';

/** A summary of one line comes once in this time. */
const WINDOW_MS = 30_000;
/** Different lines that are remembered. Texts that never repeat push the oldest out. */
const MOST_LINES = 200;

export interface RepeatedOptions<Line> {
  /** Writes that `line` came `count` more times in `windowMs`, after it was written. */
  readonly summarize: (line: Line, count: number, windowMs: number) => void;
  readonly windowMs?: number;
  readonly mostLines?: number;
  readonly clock?: Clock;
}

interface Known<Line> {
  readonly line: Line;
  /** Of the window. */
  since: number;
  /** Within the window. */
  count: number;
  cancel: () => void;
}

export class RepeatedLines<Line> {
  /** By key, the oldest first. */
  private readonly known = new Map<string, Known<Line>>();
  private readonly windowMs: number;
  private readonly mostLines: number;
  private readonly clock: Clock;

  constructor(private readonly options: RepeatedOptions<Line>) {
    this.windowMs = options.windowMs ?? WINDOW_MS;
    this.mostLines = options.mostLines ?? MOST_LINES;
    this.clock = options.clock ?? CLOCK;
  }

  /**
   * @param key equal for lines that are repetitions of each other
   * @returns whether the caller writes the line now; false: it is counted
   */
  admit(key: string, line: Line): boolean {
    const known = this.known.get(key);
    if (known !== undefined) {
      known.count++;
      return false;
    }
    const oldest = this.known.keys().next();
    if (this.known.size >= this.mostLines && !oldest.done) this.forget(oldest.value);
    const fresh: Known<Line> = { line, since: this.clock.now(), count: 0, cancel: () => {} };
    this.known.set(key, fresh);
    this.wait(key, fresh);
    return true;
  }

  /** Write the summaries that are due later, and remember nothing: for an orderly end. */
  flush(): void {
    for (const key of [...this.known.keys()]) this.forget(key);
  }

  private wait(key: string, known: Known<Line>): void {
    known.cancel = this.clock.after(this.windowMs, () => this.endWindow(key, known));
  }

  /** A line that repeated stays quiet for another window; one that did not is new when it comes again. */
  private endWindow(key: string, known: Known<Line>): void {
    if (known.count === 0) {
      this.known.delete(key);
      return;
    }
    this.tell(known);
    known.since = this.clock.now();
    known.count = 0;
    this.wait(key, known);
  }

  private forget(key: string): void {
    const known = this.known.get(key)!;
    known.cancel();
    this.known.delete(key);
    if (known.count > 0) this.tell(known);
  }

  private tell({ line, count, since }: Known<Line>): void {
    this.options.summarize(line, count, this.clock.now() - since);
  }
}

/** `repeated 45 times in 30 s` */
export function repeatedText(count: number, windowMs: number): string {
  const seconds = Math.max(1, Math.round(windowMs / 1000));
  return `repeated ${count === 1 ? 'once' : `${count} times`} in ${seconds} s`;
}
