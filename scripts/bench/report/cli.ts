/** The report of bench:cli as a section. */
import type { CliReport } from '../cli.js';
import { atMost, type Section } from './figure.js';

export function cliSection({ rows, rounds, nodeMs, limitMs }: CliReport): Section {
  const figures = rows.map(({ command, moreMs }) => ({
    name: `nfqlb ${command.split(' ')[0]}`,
    value: moreMs,
    unit: 'ms',
    spread: null,
    target: atMost(limitMs),
  }));
  return {
    title: 'Subcommands',
    method:
      `\`npm run bench:cli\`: what a cold process of each subcommand takes more than \`node -e 0\` (${nodeMs.toFixed(0)} ms), ` +
      `against a dataplane with 100 flows; medians of ${rounds}, by turns.`,
    figures,
    plots: [],
    tables: [],
  };
}
