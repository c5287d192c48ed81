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

/** Quotients of samples that were taken side by side, round by round. */
export function ratios(ours: readonly number[], theirs: readonly number[]): Figures {
  if (ours.length !== theirs.length || ours.length === 0)
    throw new RangeError(`${ours.length} samples beside ${theirs.length}`);
  return figures(ours.map((each, round) => each / theirs[round]!));
}

/** How far apart the samples are, as a part of their median. */
export function spread({ median: middle, fastest, slowest }: Figures): number {
  return (slowest - fastest) / middle;
}

export interface Target {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One line of a report that programs read. */
export interface NamedFigure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Of `ratio` where there is one, else of `value`; null: none. */
  readonly target: Target | null;
  /** To what the name says; median of the rounds' ratios. */
  readonly ratio: number | null;
  readonly samples: readonly number[];
}

export function meets({ value, ratio, target }: NamedFigure): boolean {
  const judged = ratio ?? value;
  return judged >= (target?.atLeast ?? -Infinity) && judged <= (target?.atMost ?? Infinity);
}
