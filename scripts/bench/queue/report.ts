/** What was measured, as named figures for programs and as tables for people. */
import Table from 'cli-table3';
import { type Figures, figures, meets, type NamedFigure, ratios, spread, type Target } from '../figures.js';
import type { Step } from './ladder.js';
import type { RoundTrip } from './network.js';
import type { Share } from './profile.js';
import { type Measured, RATES } from './rounds.js';

/** The contestants that magmark is compared with. */
export const MAGMARK = 'magmark';
export const SINGLE_NAME = 'C, one verdict a packet';
export const BATCHED_NAME = 'C, batched';
export const PLAIN_NAME = 'plain forwarding';

export interface Report {
  /** Whether all targets were met. */
  readonly ok: boolean;
  readonly figures: readonly NamedFigure[];
  readonly ladder?: readonly Step[];
  readonly profile?: readonly Share[];
  readonly compiler: string;
  readonly node: string;
  readonly rounds: number;
}

const QUANTILES = ['p50', 'p99', 'p999'] as const;

/** Microseconds that a way through the queue takes more than plain forwarding, round by round. */
export function addedBy(
  trips: readonly RoundTrip[],
  plain: readonly RoundTrip[],
  quantile: (typeof QUANTILES)[number],
): number[] {
  return trips.map((each, round) => each[quantile] - plain[round]![quantile]);
}

/** @param collections of garbage in magmark's worker while packets went through it */
export function figuresOf(measured: readonly Measured[], collections: number): NamedFigure[] {
  const of = (name: string): Measured => measured.find(each => each.name === name)!;
  const [magmark, single, batched, plain] = [of(MAGMARK), of(SINGLE_NAME), of(BATCHED_NAME), of(PLAIN_NAME)];
  const line = (
    name: string,
    unit: string,
    value: Figures,
    target: Target | null = null,
    ratio: number | null = null,
  ): NamedFigure => ({
    name,
    value: value.median,
    unit,
    target,
    ratio,
    samples: value.samples,
  });
  const compared = (other: Measured, atLeast: number): NamedFigure =>
    line(
      `queue: magmark to ${other.name}`,
      'packets/s',
      magmark.rate,
      { atLeast },
      ratios(magmark.rate.samples, other.rate.samples).median,
    );
  const latencies = RATES.flatMap((rate, at) =>
    measured
      .filter(each => each !== plain)
      .flatMap(each =>
        QUANTILES.map(quantile => {
          const added = addedBy(each.trips[at]!, plain.trips[at]!, quantile);
          const judged = each === magmark && quantile === 'p99';
          const beside = addedBy(single.trips[at]!, plain.trips[at]!, quantile);
          return line(
            `queue: added ${quantile} at ${rate}/s, ${each.name}`,
            'us',
            figures(added),
            judged ? { atMost: 1 } : null,
            each === single ? null : figures(added).median / figures(beside).median,
          );
        }),
      ),
  );
  return [
    ...measured.map(each => line(`queue: ${each.name}`, 'packets/s', each.rate)),
    compared(single, 1.25),
    compared(batched, 0.95),
    ...measured.flatMap(each => {
      if (each.systemCalls === null) return [];
      const target = each === magmark ? { atMost: 0.25 } : null;
      return [line(`queue: system calls, ${each.name}`, 'a packet', figures([each.systemCalls]), target)];
    }),
    line("queue: collections of garbage, magmark's worker", 'collections', figures([collections]), {
      atMost: 0,
    }),
    ...latencies,
    ...measured.map(each =>
      line(
        `queue: TCP, ${each.name}`,
        'bit/s',
        each.tcp,
        null,
        ratios(each.tcp.samples, plain.tcp.samples).median,
      ),
    ),
  ];
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    style: { head: [], border: [] },
  });
  table.push(...rows.map(row => [...row]));
  return table.toString();
}

const thousands = (value: number): string => (value / 1000).toFixed(0);
const around = (value: Figures): string =>
  `${thousands(value.median)} (${thousands(value.fastest)} to ${thousands(value.slowest)})`;

function dropsOf({ saturated }: Measured): string {
  if (saturated[0]!.dropped === null) return '';
  const packets = saturated.reduce((sum, { dropped }) => sum + dropped!, 0);
  return thousands(packets / saturated.length);
}

/** Rates beside what they are compared with. */
export function contestantsText(measured: readonly Measured[]): string {
  const single = measured.find(({ name }) => name === SINGLE_NAME)!;
  const batched = measured.find(({ name }) => name === BATCHED_NAME)!;
  const rows = measured.map(each => [
    each.name,
    around(each.rate),
    spread(each.rate).toFixed(2),
    thousands(figures(each.saturated.map(({ offered }) => offered)).median),
    dropsOf(each),
    ratios(each.rate.samples, single.rate.samples).median.toFixed(2),
    ratios(each.rate.samples, batched.rate.samples).median.toFixed(2),
    each.systemCalls?.toFixed(3) ?? '',
    (each.tcp.median / 1e9).toFixed(1),
  ]);
  return tableOf(
    [
      'thousand packets/s',
      'median (range)',
      'spread',
      'sent',
      'dropped',
      'to C single',
      'to C batched',
      'calls/packet',
      'TCP Gbit/s',
    ],
    rows,
  );
}

/** Round trips as they were, with plain forwarding's own. */
export function tripsText(measured: readonly Measured[]): string {
  const middle = (trips: readonly RoundTrip[], quantile: (typeof QUANTILES)[number]): string =>
    figures(trips.map(each => each[quantile])).median.toFixed(0);
  const rows = measured.map(({ name, trips }) => [
    name,
    ...trips.flatMap(rate => QUANTILES.map(quantile => middle(rate, quantile))),
    `${trips.flat().reduce((sum, { requests, answered }) => sum + requests - answered, 0)}`,
  ]);
  return tableOf(
    [
      'round trip, us',
      ...RATES.flatMap(rate => ['p50', 'p99', 'p99.9'].map(each => `${each} at ${rate}/s`)),
      'lost',
    ],
    rows,
  );
}

export function targetsText(named: readonly NamedFigure[]): string {
  const rows = named
    .filter(({ target }) => target !== null)
    .map(each => [
      each.name,
      (each.ratio ?? each.value).toFixed(3),
      each.target!.atLeast === undefined
        ? `at most ${each.target!.atMost}`
        : `at least ${each.target!.atLeast}`,
      meets(each) ? 'met' : 'MISSED',
    ]);
  return tableOf(['target', 'measured', 'wanted', ''], rows);
}

export function ladderText(ladder: readonly Step[]): string {
  const rows = ladder.map(({ axis, rate, ratio, systemCalls, p50, p99, tcp }) => [
    axis,
    around(rate),
    ratio.median.toFixed(3),
    systemCalls.toFixed(3),
    p50.toFixed(0),
    p99.toFixed(0),
    (tcp.median / 1e9).toFixed(1),
  ]);
  return tableOf(
    [
      'the program in C',
      'thousand packets/s',
      'to the first',
      'calls/packet',
      'p50, us',
      'p99, us',
      'TCP Gbit/s',
    ],
    rows,
  );
}

export function profileText(shares: readonly Share[]): string {
  return tableOf(
    ["magmark's worker", 'share'],
    shares.map(({ part, share }) => [part, `${(share * 100).toFixed(1)} %`]),
  );
}
