/** Time as a parameter. */

export interface Clock {
  /** Milliseconds that only grow. */
  now(): number;
  /** Milliseconds since 1970. */
  date(): number;
  /** Run once in so many milliseconds; returns what takes it back. It keeps no process alive. */
  after(delayMs: number, run: () => void): () => void;
}

export const CLOCK: Clock = {
  now: () => performance.now(),
  date: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs).unref();
    return () => clearTimeout(timer);
  },
};
