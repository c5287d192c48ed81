/** The report of bench:targets as a section. */
import type { TargetsReport } from '../targets.js';
import { atLeast, type Figure, type Section } from './figure.js';

/** As good as flat: what the number of targets may cost of the rate of one. */
const FLAT = atLeast(0.95);

export function targetsSection(report: TargetsReport): Section {
  return {
    title: 'Packets through magmark by the number of targets',
    method:
      "`npm run bench:targets`: magmark's daemon with so many targets, in streams of 200 that each have a range of the clients' ports; UDP of 64 " +
      "bytes over IPv4 through one queue, the core and the rules, from 4,096 ports as fast as one thread writes it, counted at the receiver's " +
      `interface; the rate as a share of that with one target, by turns, medians of ${report.rounds}.`,
    figures: targetFigures(report),
    plots: [],
    tables: [],
  };
}

export function targetFigures({ rows }: TargetsReport): Figure[] {
  return rows.slice(1).map(({ targets, ratio }) => ({
    name: `${targets.toLocaleString('en')} targets, of the rate of one`,
    value: ratio.median,
    unit: '',
    spread: [ratio.fastest, ratio.slowest],
    target: FLAT,
  }));
}
