/** One question under way: it ends once, by an answer, by a failure or by its time-out, and leaves nothing open. */

export interface Attempt {
  /** null: answered as it should be; else what was attempted and what came of it. Never rejects. */
  readonly failure: Promise<string | null>;
  /** The target was not asked, for a lack on this host: it says nothing of the target. */
  readonly unasked?: boolean;
  /** End it now; `failure` is then of no interest. */
  cancel(): void;
}

export interface Running {
  /** In words: what is missing when the time is over. It may still settle the attempt: that counts. */
  late(): string;
  /** Free what the attempt holds; called once. */
  end(): void;
}

/** @param begin starts it, and must not settle it before it returns */
export function attempt(
  timeoutMs: number,
  begin: (settle: (failure: string | null) => void) => Running,
): Attempt {
  let settle = (_failure: string | null): void => {};
  const failure = new Promise<string | null>(resolve => {
    let ended = false;
    settle = failure => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      running.end();
      resolve(failure);
    };
    const running = begin(settle);
    // Node runs timers before it reads sockets. An answer that came while this process was busy is an answer, so its
    // event goes first.
    const timer = setTimeout(() => setImmediate(() => settle(running.late())), timeoutMs).unref();
  });
  return { failure, cancel: () => settle('cancelled') };
}

/** An attempt that failed before it began. */
export function failed(failure: string): Attempt {
  return { failure: Promise.resolve(failure), cancel() {} };
}
