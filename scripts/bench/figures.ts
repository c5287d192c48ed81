/** Samples and what is said of them. */
import { type Figure, type Target, verdict } from './report/figure.js';

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

/** The value that `part` of the others, 0 to 1, are at most as large as; NaN if there is none. */
export function quantile(values: readonly number[], part: number): number {
  return values.toSorted((one, other) => one - other)[Math.round(part * (values.length - 1))] ?? Number.NaN;
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

/** One line of a report that programs read. */
export interface NamedFigure {
  readonly name: string;
  /** What the target is about; where a ratio is aimed at, the ratio. */
  readonly value: number;
  readonly unit: string;
  /** null: it is stated, and nothing is aimed at. */
  readonly target: Target | null;
  /** To what it is compared with, if that is not `value` itself; median of the rounds' ratios. */
  readonly ratio: number | null;
  readonly samples: readonly number[];
}

/** As a row of the document of all benchmarks. */
export function rowOf({ name, value, unit, target, samples }: NamedFigure): Figure {
  const range = [Math.min(...samples), Math.max(...samples)] as const;
  return { name, value, unit, target, spread: samples.length > 1 ? range : null };
}

export function meets(figure: NamedFigure): boolean {
  return verdict(rowOf(figure)) !== 'MISSED';
}
