/** The report of bench:rules as a section. */
import type { RulesReport, RulesRow } from '../rules.js';
import { atLeast, type Curve, type Figure, type Plot, type Section } from './figure.js';

/** As good as flat: what the numbers of targets may cost of the rate of one. */
const FLAT = atLeast(0.9);

export function rulesSection({ rows, rounds }: RulesReport): Section {
  return {
    title: 'The rules of many targets',
    method:
      '`npm run bench:rules`: datagrams of 50 bytes with random marks of targets, forwarded by the kernel alone, without a queue; the rate ' +
      `as a share of that with one target, by turns, medians of ${rounds}. Lists are what stands up to 64 targets, trees what stands above; ` +
      '*256 tables*: all targets in so many routing tables, to tell what the kernel’s hash of tables takes from what the rules take.',
    figures: rows.filter(({ targets }) => targets > 1).map(shareOf),
    plots: [byTargets(rows)],
    tables: [],
  };
}

function shareOf({ family, targets, rules, ratio, least, most }: RulesRow): Figure {
  return {
    name: `IPv${family}, ${targets.toLocaleString('en')} targets, ${rules}`,
    value: ratio,
    unit: '',
    spread: [least, most],
    target: rules === 'tree' && targets > 64 ? FLAT : null,
  };
}

function byTargets(rows: readonly RulesRow[]): Plot {
  const curves = ([4, 6] as const).flatMap(family =>
    ['list', 'tree'].map((rules): Curve => {
      const points = rows
        // One target is a list of one, and where both begin.
        .filter(row => row.family === family && (row.rules === rules || row.targets === 1))
        .map(({ targets, ratio }) => [targets, ratio] as const);
      return { name: `IPv${family}, ${rules}`, points };
    }),
  );
  return {
    name: 'forwarding-by-targets',
    title: 'Forwarding by the number of targets',
    x: 'targets',
    y: 'of the rate with one target',
    logarithmic: { x: true, y: false },
    curves,
  };
}
