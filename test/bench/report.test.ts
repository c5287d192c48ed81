/** What a benchmark's figures become: verdicts, rows, a document, plots. */
import t from 'tap';
import { markdown, summary, tables } from '../../scripts/bench/report/document.js';
import {
  atLeast,
  atMost,
  cells,
  type Figure,
  numberText,
  type Plot,
  type Section,
  verdict,
} from '../../scripts/bench/report/figure.js';
import { PARTS, type Part } from '../../scripts/bench/report/parts.js';
import { drawn } from '../../scripts/bench/report/plot.js';
import { run } from '../../scripts/bench/report/run.js';

const RATIO: Figure = { name: 'a | b', value: 1.31, unit: '', spread: [1.27, 1.333], target: atLeast(1.25) };
const SLOW: Figure = { name: 'slow', value: 1204, unit: 'ms', spread: null, target: atMost(1000) };
const BYTES: Figure = { name: 'bytes', value: 12.5, unit: 'bytes', spread: null, target: null };
const PLOT: Plot = {
  name: 'cost',
  title: "what it's worth",
  x: 'flows',
  y: 'ns',
  logarithmic: { x: true, y: false },
  curves: [
    {
      name: 'a curve',
      points: [
        [1, 2],
        [10, 3.5],
      ],
    },
  ],
};
const SECTION: Section = {
  title: 'A title',
  method: 'A method.',
  figures: [RATIO, SLOW, BYTES],
  plots: [PLOT],
  tables: ['one  two'],
};
const MACHINE = {
  processor: 'A processor',
  processors: 2,
  memoryGiB: 24,
  system: 'A system',
  node: 'v20.0.0',
  magmark: '0.1.0',
  at: '2026-11-26T21:00:00.000Z',
  load: 0.5,
};

t.test('a target is met at its bound and on its side, and never by what is no number', async t => {
  const rows: [value: number, target: Figure['target'], wanted: string][] = [
    [1.25, atLeast(1.25), 'met'],
    [1.2499, atLeast(1.25), 'MISSED'],
    [2, atMost(2), 'met'],
    [2.001, atMost(2), 'MISSED'],
    [Number.NaN, atMost(2), 'MISSED'],
    [Number.NaN, atLeast(2), 'MISSED'],
    [7, null, 'stated'],
  ];
  for (const [value, target, wanted] of rows) {
    const figure: Figure = { ...RATIO, value, target };
    t.equal(verdict(figure), wanted, JSON.stringify([value, target]));
  }
});

t.test('numbers have the digits that mean something', async t => {
  const rows: [value: number, wanted: string][] = [
    [0, '0'],
    [0.95123, '0.951'],
    [1.5, '1.5'],
    [17.349, '17.35'],
    [100, '100'],
    [999.96, '1000'],
    [-12.3, '-12.3'],
    [1204, '1,204'],
    [1_204_000.4, '1,204,000'],
  ];
  for (const [value, wanted] of rows) t.equal(numberText(value), wanted, String(value));
  t.same(cells(SLOW), ['slow', '1,204 ms', '', 'at most 1,000 ms', 'MISSED']);
});

t.test('the document has machine, verdicts, rows and plots', async t => {
  t.equal(summary([SECTION]), '1 targets met, 1 missed; 1 figures without a target.');
  const text = markdown(MACHINE, [SECTION], 'plots');
  t.match(
    text,
    '2026-11-26: 2 × A processor, 24 GiB; A system; Node.js v20.0.0; load before the measurement 0.50.',
  );
  t.match(text, '| a \\| b | 1.31 | 1.27 to 1.333 | at least 1.25 | met |\n| slow | 1,204 ms |');
  t.match(text, "![what it's worth](plots/cost.svg)");
  t.match(text, '```\none  two\n```');
  t.notMatch(text, 'Not measured');
  t.match(markdown(MACHINE, [SECTION], 'plots', ['core: exit 2']), '**Not measured: core: exit 2**');
  t.match(tables([SECTION]), /A title\n┌.*\n.*measured/);
});

t.test('gnuplot draws each curve, with its name, as SVG', async t => {
  const svg = drawn(PLOT);
  t.match(svg, /^<\?xml/);
  t.match(svg, /<\/svg>\s*$/);
  for (const text of ["what it's worth", 'flows', 'ns', 'a curve'])
    t.ok(svg.includes(`<text>${text}</text>`), text);
  t.throws(() => drawn({ ...PLOT, curves: [] }), { code: 'ENVIRONMENT', message: /could not draw cost/ });
});

t.test('a benchmark that cannot be run or prints no JSON is a fault, not a figure', async t => {
  const part: Part = { ...PARTS[0]!, quick: ['--no-such-option'] };
  t.match(await run(part, true), { report: null, fault: /^exit 2, and what it printed is no JSON/ });
  t.match(await run({ ...part, script: 'none' }, true), { report: null, fault: /^exit 1, and/ });
});
