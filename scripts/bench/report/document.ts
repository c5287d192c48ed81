/** docs/benchmarks.md, and the same as tables for a terminal. */
import Table from 'cli-table3';
import { cells, type Section, verdict } from './figure.js';
import type { Machine } from './machine.js';

const HEAD = ['', 'measured', 'spread', 'target', ''] as const;

/** For people at a terminal. */
export function tables(sections: readonly Section[]): string {
  return [...sections.map(section => `${section.title}\n${table(section)}`), summary(sections)].join('\n\n');
}

export function table({ figures }: Section): string {
  const drawn = new Table({
    head: [...HEAD],
    colAligns: ['left', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  drawn.push(...figures.map(figure => [...cells(figure)]));
  return drawn.toString();
}

/** One line. */
export function summary(sections: readonly Section[]): string {
  const verdicts = sections.flatMap(({ figures }) => figures.map(verdict));
  const count = (wanted: string) => verdicts.filter(each => each === wanted).length;
  return `${count('met')} targets met, ${count('MISSED')} missed; ${count('stated')} figures without a target.`;
}

/**
 * @param plotFolder  where the plots lie, as the document refers to it
 * @param failed      what could not be measured, one line each
 */
export function markdown(
  machine: Machine,
  sections: readonly Section[],
  plotFolder: string,
  failed: readonly string[] = [],
): string {
  const { processor, processors, memoryGiB, system, node, magmark, at, load } = machine;
  const lines = [
    '# Benchmarks',
    '',
    'Written by `npm run bench`, which measures anew; do not edit. Ratios are to be compared, within a table; absolute times are those',
    'of one machine on one day. A spread is the lowest and the highest of the samples whose median is stated.',
    '',
    `magmark ${magmark}, ${at.slice(0, 10)}: ${processors} × ${processor}, ${memoryGiB} GiB; ${system}; Node.js ${node}; ` +
      `load before the measurement ${load.toFixed(2)}.`,
    '',
    summary(sections),
    ...failed.flatMap(fault => ['', `**Not measured: ${fault}**`]),
  ];
  for (const { title, method, figures, plots, tables: preformatted } of sections) {
    lines.push('', `## ${title}`, '', method, '');
    lines.push(`|${HEAD.map(cell => ` ${cell} `).join('|')}|`, '|---|--:|--:|--:|---|');
    for (const figure of figures) lines.push(`| ${cells(figure).map(escaped).join(' | ')} |`);
    for (const plot of plots) lines.push('', `![${plot.title}](${plotFolder}/${plot.name}.svg)`);
    for (const text of preformatted) lines.push('', '```', text, '```');
  }
  return `${lines.join('\n')}\n`;
}

function escaped(cell: string): string {
  return cell.replaceAll('|', '\\|');
}
