/**
 * The queue of changes: a start, a reload, a repair, a health change, a stop, one after the other. Each change names its
 * steps. A step that hangs has a limit, so that it ends its own change and no other.
 */
import { EnvironmentError } from '../types/errors.js';

export interface Turn {
  /**
   * Do one step of the change.
   * @param work  its signal is aborted when the step is given up: what `work` does later must change nothing
   * @throws EnvironmentError naming the step, after `limitMs`, or when the change is given up; what `work` throws
   */
  step<Result>(
    name: string,
    work: (signal: AbortSignal) => Promise<Result>,
    limitMs?: number,
  ): Promise<Result>;
}

/** Far above what a step takes on a busy machine; programs have bounds of their own. */
export const STEP_MS = 60_000;
/** The kernel's rules of 10,000 targets take several programs, of 30 s each at most. */
export const KERNEL_STEP_MS = 180_000;

class Present implements Turn {
  private current: {
    readonly name: string;
    readonly began: number;
    readonly end: (why: string) => void;
  } | null = null;
  private givenUp: string | null = null;

  constructor(readonly change: string) {}

  async step<Result>(
    name: string,
    work: (signal: AbortSignal) => Promise<Result>,
    limitMs = STEP_MS,
  ): Promise<Result> {
    if (this.givenUp !== null) throw this.error(name, this.givenUp);
    const over = new AbortController();
    let end = (_why: string): void => {};
    const ended = new Promise<never>((_, reject) => {
      end = why => {
        over.abort();
        reject(this.error(name, why));
      };
    });
    const timer = setTimeout(() => end(`did not end within ${limitMs / 1000} s`), limitMs);
    this.current = { name, began: performance.now(), end };
    try {
      return await Promise.race([work(over.signal), ended]);
    } finally {
      clearTimeout(timer);
      this.current = null;
    }
  }

  /** The present step ends, and no other begins. */
  giveUp(why: string): void {
    this.givenUp = why;
    this.current?.end(why);
  }

  slow(leastMs: number): string | null {
    if (this.current === null) return null;
    const { name, began } = this.current;
    const ms = performance.now() - began;
    if (ms < leastMs) return null;
    return `the change '${this.change}' has been in step '${name}' for ${Math.floor(ms / 1000)} s`;
  }

  private error(step: string, why: string): EnvironmentError {
    return new EnvironmentError(`the change '${this.change}' was given up: step '${step}' ${why}`);
  }
}

export class Turns {
  private last: Promise<unknown> = Promise.resolve();
  private present: Present | null = null;

  /** @param name of the change, for messages */
  take<Result>(name: string, change: (turn: Turn) => Promise<Result>): Promise<Result> {
    const result = this.last.then(async () => {
      const present = new Present(name);
      this.present = present;
      try {
        return await change(present);
      } finally {
        this.present = null;
      }
    });
    this.last = result.catch(() => undefined);
    return result;
  }

  /** A change of one step. */
  one<Result>(
    name: string,
    work: (signal: AbortSignal) => Promise<Result>,
    limitMs?: number,
  ): Promise<Result> {
    return this.take(name, turn => turn.step(name, work, limitMs));
  }

  /** Whatever has its turn now ends with an error. */
  giveUpPresent(why: string): void {
    this.present?.giveUp(why);
  }

  /** The change that has its turn; null: none has. */
  get change(): string | null {
    return this.present?.change ?? null;
  }

  /** A warning if the present step has taken this long. */
  slow(leastMs: number): string[] {
    const words = this.present?.slow(leastMs) ?? null;
    return words === null ? [] : [words];
  }
}
