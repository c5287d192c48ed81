/** What was measured, as tables for people. */
import { type Figures, figures, median, type NamedFigure, ratios, rowOf, spread } from '../figures.js';
import { cells } from '../report/figure.js';
import { tableOf } from '../text-table.js';
import type { Step } from './ladder.js';
import { BATCHED_NAME, type LatencyCurve, QUANTILES, SINGLE_NAME, tripsOf } from './named.js';
import type { Share } from './profile.js';
import { type Measured, RATES } from './rounds.js';

export interface QueueReport {
  /** Whether all targets were met. */
  readonly ok: boolean;
  readonly figures: readonly NamedFigure[];
  /** Of the worker's time; null: this machine has no perf. Absent where it was not asked for. */
  readonly profile?: readonly Share[] | null;
  readonly ladder?: readonly Step[];
  /** Absent where it was not measured. */
  readonly latencies?: readonly LatencyCurve[];
  readonly compiler: string;
  readonly node: string;
  readonly rounds: number;
}

const thousands = (value: number): string => (value / 1000).toFixed(0);
const around = (value: Figures): string =>
  `${thousands(value.median)} (${thousands(value.fastest)} to ${thousands(value.slowest)})`;

/** The median of what is not known of those that nobody answers. */
function middle(measured: Measured, of: 'dropped' | 'threadTime', digits: number): string {
  const values = measured.saturated.map(each => each[of]).filter(value => value !== null);
  return values.length === 0 ? '' : figures(values).median.toFixed(digits);
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
    middle(each, 'dropped', 3),
    middle(each, 'threadTime', 0),
    ratios(each.rate.samples, single.rate.samples).median.toFixed(2),
    ratios(each.rate.samples, batched.rate.samples).median.toFixed(2),
    each.systemCalls?.median.toFixed(3) ?? '',
    (each.tcp.median / 1e9).toFixed(1),
  ]);
  return tableOf(
    [
      'thousand packets/s',
      'median (range)',
      'spread',
      'sent',
      'dropped',
      'CPU ns/packet',
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
  const rows = measured.map(({ name, trips }) => [
    name,
    ...trips.flatMap(rate => QUANTILES.map(each => median(tripsOf(rate, each)).toFixed(0))),
    `${trips.flat().reduce((sum, { requests, microseconds }) => sum + requests - microseconds.length, 0)}`,
  ]);
  const head = RATES.flatMap(rate => QUANTILES.map(each => `${each.name} at ${rate}/s`));
  return tableOf(['round trip, us', ...head, 'lost'], rows);
}

export function targetsText(named: readonly NamedFigure[]): string {
  const rows = named.filter(({ target }) => target !== null).map(each => cells(rowOf(each)));
  return tableOf(['target', 'measured', 'spread', 'wanted', ''], rows);
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
