/** Durations in text: `300ms`, `1s`, `1.5s`, `2m`. */
import { shown } from '../types/text.js';

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };
const DURATION = /^(?<number>[0-9]{1,9}(?:\.[0-9]{1,3})?)(?<unit>ms|s|m)$/;

/** @returns milliseconds, or the fault as a string */
export function parseDuration(text: string): number | string {
  const groups = DURATION.exec(text)?.groups;
  if (groups === undefined)
    return `${shown(text)} is not a duration: write a number and ms, s or m, for example 300ms`;
  // In thousandths, which are whole: 2.01 times 1000 is not.
  const [whole, fraction = ''] = groups.number!.split('.');
  const milliseconds = (Number(`${whole}${fraction.padEnd(3, '0')}`) * UNITS_MS[groups.unit!]!) / 1000;
  if (!Number.isInteger(milliseconds)) return `${shown(text)} is no whole number of milliseconds`;
  return milliseconds;
}

/** A duration between two others; a reader of the result is sure of a number once the text was accepted. */
export function durationWithin(least: string, most: string): (text: string) => number | string {
  const bounds = [least, most].map(text => parseDuration(text) as number);
  return text => {
    const parsed = parseDuration(text);
    if (typeof parsed === 'string') return parsed;
    return parsed < bounds[0]! || parsed > bounds[1]!
      ? `${shown(text)} is not within ${least} to ${most}`
      : parsed;
  };
}
