/** The report of bench:core as sections. */
import type { Building } from '../building.js';
import type { CoreReport } from '../core.js';
import type { Row } from '../decision.js';
import { BYTE_STATEMENTS } from '../shape.js';
import { atMost, type Curve, type Figure, type Plot, type Section } from './figure.js';

export function decisionSections(report: CoreReport): Section[] {
  return [decision(report), build(report), hooks(report)];
}

function decision({ rows, rounds, compiler }: CoreReport): Section {
  const abouts = new Map(rows.map(({ shape, about }) => [shape, about]));
  return {
    title: 'The decision',
    method: [
      `\`npm run bench:core\`: parse, flow match, hash and lookup in Wasm, as a multiple of what one flow of the same family costs in C (${compiler}, -O3).`,
      `Medians of ${rounds} rounds, the two sides by turns; packets are spread evenly over the flows; both sides decided every packet alike.`,
      ...[...abouts].map(([shape, about]) => `*${shape}*: ${about}.`),
    ].join('\n'),
    figures: [
      ...rows.map(ratioOf),
      ...([4, 6] as const).flatMap(family => rows.filter(isOneFlow(family)).map(inC)),
      ...perStatement(rows),
    ],
    plots: [byFlows(rows)],
    tables: [],
  };
}

function ratioOf({ shape, flows, ratio, target, wasm, c }: Row): Figure {
  const ratios = wasm.samples.map((nanoseconds, round) => nanoseconds / c.samples[round]!);
  return {
    name: `${shape}, ${flowsText(flows)}`,
    value: ratio,
    unit: '',
    spread: [Math.min(...ratios), Math.max(...ratios)],
    target: target === null ? null : atMost(target),
  };
}

const isOneFlow = (family: 4 | 6) => (row: Row) => row.family === family && row.flows === 1;

function inC({ family, c }: Row): Figure {
  const { median, fastest, slowest } = c;
  return {
    name: `one flow in C, IPv${family}`,
    value: median,
    unit: 'ns',
    spread: [fastest, slowest],
    target: null,
  };
}

/** What each flow costs that is asked for its byte statement in vain: half of them are, before the right one. */
function perStatement(rows: readonly Row[]): Figure[] {
  const [few, many] = rows.filter(({ shape }) => shape === BYTE_STATEMENTS);
  if (few === undefined || many === undefined) return [];
  const value = (many.wasm.median - few.wasm.median) / ((many.flows - few.flows) / 2);
  return [
    { name: 'each byte statement that is asked in vain', value, unit: 'ns', spread: null, target: null },
  ];
}

function byFlows(rows: readonly Row[]): Plot {
  const shapes = [...new Set(rows.map(({ shape }) => shape))];
  const wasm = shapes
    .map((shape): Curve => ({ name: shape, points: pointsOf(rows, shape, row => row.ratio) }))
    .filter(({ points }) => points.length > 1);
  const linear: Curve = {
    name: 'in C, one by one',
    points: pointsOf(rows, rows[0]!.shape, row => row.cSameFlows / row.c.median),
  };
  return {
    name: 'decision-by-flows',
    title: 'Cost of a decision by the number of flows',
    x: 'flows',
    y: 'times one flow in C',
    logarithmic: { x: true, y: true },
    curves: [...wasm, linear],
  };
}

function pointsOf(rows: readonly Row[], shape: string, value: (row: Row) => number): Curve['points'] {
  return rows.filter(row => row.shape === shape).map(row => [row.flows, value(row)] as const);
}

function build({ tables, building }: CoreReport): Section {
  return {
    title: 'Tables and images',
    method:
      '`npm run bench:core`: Maglev tables in Wasm; whole images of four streams with so many flows, their records and their classifier, ' +
      'off the hot path, one sample each. Bytes are of the core’s memory, a flow.',
    figures: [
      ...tables.map(
        ({ name, time, targetMs }): Figure => ({
          name,
          value: time.median,
          unit: 'ms',
          spread: [time.fastest, time.slowest],
          target: targetMs === null ? null : atMost(targetMs),
        }),
      ),
      ...building.flatMap(builtFigures),
    ],
    plots: building.length === 0 ? [] : [builtPlot(building)],
    tables: [],
  };
}

function builtFigures(built: Building): Figure[] {
  const { shape, flows, recordsMs, classifierMs, recordBytes, classifierBytes } = built;
  const name = `${shape}, ${flowsText(flows)}`;
  const stated = { spread: null, target: null };
  return [
    { name: `${name}: built in`, value: recordsMs + classifierMs, unit: 'ms', ...stated },
    { name: `${name}: a flow takes`, value: recordBytes + classifierBytes, unit: 'bytes', ...stated },
  ];
}

function builtPlot(building: readonly Building[]): Plot {
  const shapes = [...new Set(building.map(({ shape }) => shape))];
  return {
    name: 'build-by-flows',
    title: 'Time to build an image by the number of flows',
    x: 'flows',
    y: 'milliseconds',
    logarithmic: { x: true, y: true },
    curves: shapes.map(shape => ({
      name: shape,
      points: building
        .filter(each => each.shape === shape)
        .map(({ flows, recordsMs, classifierMs }) => [flows, recordsMs + classifierMs] as const),
    })),
  };
}

/** What costs nothing while it is not used. */
function hooks({ changed, watching, garbage }: CoreReport): Section {
  const stated = { unit: '', spread: null, target: null };
  return {
    title: 'What is there and not used',
    method:
      '`npm run bench:core`, one flow, IPv4: the decision beside itself, with slots that have another target than before, and with traces. ' +
      'Garbage is what the loop of decisions leaves to the collector.',
    figures: [
      {
        ...stated,
        name: 'all slots but the packets’ have changed',
        value: changed.ratioOthers,
        target: atMost(1.05),
      },
      { ...stated, name: 'the packets’ slots have changed', value: changed.ratioAll },
      { ...stated, name: 'a trace that is off', value: watching.ratioOff, target: atMost(1.05) },
      { ...stated, name: 'a trace of every packet', value: watching.ratioOn },
      { ...stated, name: 'garbage collections', value: garbage.collections, target: atMost(0) },
      { ...stated, name: 'decisions meanwhile', value: garbage.packets },
    ],
    plots: [],
    tables: [],
  };
}

function flowsText(flows: number): string {
  return flows === 1 ? '1 flow' : `${flows.toLocaleString('en')} flows`;
}
