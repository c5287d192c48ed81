/** The report of bench:classifier as a section. */
import type { ClassifierReport } from '../classifier.js';
import { atLeast, type Section } from './figure.js';

export function classifierSection({ pairs, wanted }: ClassifierReport): Section {
  return {
    title: 'The classifier and the linear walk',
    method:
      '`npm run bench:classifier`: random configurations with overlaps, equal priorities, edges of ranges and IPv4-mapped addresses, and packets ' +
      'at those edges, decided by the core with the classifier and one flow after the other.',
    figures: [
      {
        name: 'pairs of configuration and packet without a difference',
        value: pairs,
        unit: '',
        spread: null,
        target: atLeast(wanted),
      },
    ],
    plots: [],
    tables: [],
  };
}
