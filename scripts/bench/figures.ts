/** Samples and what is said of them. */

export interface Figures {
  readonly median: number;
  readonly fastest: number;
  readonly slowest: number;
  readonly samples: readonly number[];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

export function figures(samples: readonly number[]): Figures {
  return { median: median(samples), fastest: Math.min(...samples), slowest: Math.max(...samples), samples };
}

/** Milliseconds that `run` takes. */
export function milliseconds(run: () => void): number {
  const from = process.hrtime.bigint();
  run();
  return Number(process.hrtime.bigint() - from) / 1e6;
}
