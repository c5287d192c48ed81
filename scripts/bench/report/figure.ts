/** What a benchmark found, in a form that a terminal, a document and a program can show. */

/** What is aimed at. */
export interface Target {
  readonly bound: 'at most' | 'at least';
  readonly value: number;
}

export interface Figure {
  /** What was measured, as a row of a table has it. */
  readonly name: string;
  readonly value: number;
  /** As written behind the value: `ms`, `ns`, `bytes`; empty: a ratio or a count. */
  readonly unit: string;
  /** Lowest and highest of the samples; null: there was one. */
  readonly spread: readonly [lowest: number, highest: number] | null;
  /** null: it is stated, and nothing is aimed at. */
  readonly target: Target | null;
}

/** One curve: points in the order of x. */
export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Plot {
  /** File name without `.svg`. */
  readonly name: string;
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly logarithmic: { readonly x: boolean; readonly y: boolean };
  readonly curves: readonly Curve[];
}

export interface Section {
  readonly title: string;
  /** What was done, in sentences. */
  readonly method: string;
  readonly figures: readonly Figure[];
  readonly plots: readonly Plot[];
  /** Preformatted, for what is no figure: a ladder, a profile. */
  readonly tables: readonly string[];
}

export const atMost = (value: number): Target => ({ bound: 'at most', value });
export const atLeast = (value: number): Target => ({ bound: 'at least', value });

export type Verdict = 'met' | 'MISSED' | 'stated';

export function verdict({ value, target }: Figure): Verdict {
  if (target === null) return 'stated';
  // NaN, which a faulty measurement gives, meets nothing.
  const met = target.bound === 'at most' ? value <= target.value : value >= target.value;
  return met ? 'met' : 'MISSED';
}

/** Four digits that mean something: `0.9512`, `17.3`, `1,204,000`. */
export function numberText(value: number): string {
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 2 : 3;
  const fixed = value
    .toFixed(digits)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
  return fixed.replace(/\B(?=(\d{3})+$)/g, digits === 0 ? ',' : '');
}

/** The cells of its row: name, measured, spread, target, verdict. */
export function cells(figure: Figure): readonly [string, string, string, string, string] {
  const { name, value, unit, spread, target } = figure;
  const behind = unit === '' ? '' : ` ${unit}`;
  return [
    name,
    `${numberText(value)}${behind}`,
    spread === null ? '' : `${numberText(spread[0])} to ${numberText(spread[1])}`,
    target === null ? '' : `${target.bound} ${numberText(target.value)}${behind}`,
    verdict(figure),
  ];
}
