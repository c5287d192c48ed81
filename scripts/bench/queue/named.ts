/** What was measured, as figures with a name each, beside their targets. */
import { type Figures, figures, type NamedFigure, quantile, ratios } from '../figures.js';
import { atLeast, atMost, type Target } from '../report/figure.js';
import type { RoundTrip } from './network.js';
import { LOW_LOAD, type Measured, RATES } from './rounds.js';

/** The contestants that magmark is compared with. */
export const MAGMARK = 'magmark';
/** The same that tries again for so many microseconds before it sleeps. */
export const SPIN_MICROSECONDS = 50;
export const SPINNING = `${MAGMARK}, spin ${SPIN_MICROSECONDS} us`;
export const SINGLE_NAME = 'C, one verdict a packet';
/** The same program once more: what differs between the two is the machine's doing. */
export const AGAIN_NAME = 'C, again';
export const BATCHED_NAME = 'C, batched';
export const PLAIN_NAME = 'plain forwarding';

/** Of the last there are too few in a turn: it is of all turns together. */
export const QUANTILES = [
  { name: 'p50', part: 0.5, together: false },
  { name: 'p99', part: 0.99, together: false },
  { name: 'p99.9', part: 0.999, together: true },
] as const;
export type Quantile = (typeof QUANTILES)[number];

/** Microseconds: of each turn, or one of all turns. */
export function tripsOf(trips: readonly RoundTrip[], { part, together }: Quantile): number[] {
  const turns = trips.map(({ microseconds }) => microseconds);
  return (together ? [turns.flat()] : turns).map(each => quantile(each, part));
}

/** Microseconds that a way through the queue takes more than plain forwarding, turn by turn. */
export function addedBy(trips: readonly RoundTrip[], plain: readonly RoundTrip[], which: Quantile): number[] {
  const without = tripsOf(plain, which);
  return tripsOf(trips, which).map((each, turn) => each - without[turn]!);
}

function named(
  name: string,
  unit: string,
  { median, samples }: Figures,
  more: { readonly target?: Target; readonly ratio?: number } = {},
): NamedFigure {
  return { name, value: median, unit, target: more.target ?? null, ratio: more.ratio ?? null, samples };
}

/** @param collections of garbage in magmark's worker while packets went through it */
export function figuresOf(measured: readonly Measured[], collections: number): NamedFigure[] {
  const of = (name: string): Measured => measured.find(each => each.name === name)!;
  const [magmark, single, batched, plain] = [of(MAGMARK), of(SINGLE_NAME), of(BATCHED_NAME), of(PLAIN_NAME)];
  const compared = (other: Measured, target: Target): NamedFigure => {
    const ratio = ratios(magmark.rate.samples, other.rate.samples);
    return named(`packets a second, magmark to ${other.name}`, '', ratio, { target, ratio: ratio.median });
  };
  return [
    compared(single, atLeast(1.25)),
    compared(batched, atLeast(0.95)),
    ...measured.map(each =>
      named(`packets a second, ${each.name}`, 'packets/s', each.rate, {
        ratio: ratios(each.rate.samples, single.rate.samples).median,
      }),
    ),
    ...measured.flatMap(each => answering(each, single)),
    ...measured.flatMap(each =>
      each.systemCalls === null
        ? []
        : [
            named(
              `system calls a packet, ${each.name}`,
              '',
              each.systemCalls,
              each === magmark ? { target: atMost(0.25) } : {},
            ),
          ],
    ),
    named("collections of garbage, magmark's worker", '', figures([collections]), { target: atMost(0) }),
    ...latencies(measured, magmark, single, plain),
    ...measured.map(each =>
      named(`TCP, ${each.name}`, 'bit/s', each.tcp, {
        ratio: ratios(each.tcp.samples, plain.tcp.samples).median,
      }),
    ),
  ];
}

/** What there is where somebody answers. */
function answering(each: Measured, single: Measured): NamedFigure[] {
  if (each.saturated[0]!.threadTime === null) return [];
  const times = ({ saturated }: Measured) => saturated.map(({ threadTime }) => threadTime!);
  const dropped = each.saturated.map(sample => sample.dropped!);
  return [
    named(`CPU time a packet, ${each.name}`, 'ns', figures(times(each)), {
      ratio: ratios(times(each), times(single)).median,
    }),
    named(`dropped at the queue, of all sent, ${each.name}`, '', figures(dropped)),
  ];
}

/** The ratio is of the medians: in a single turn what plain forwarding takes may be the greater part. */
function latencies(
  measured: readonly Measured[],
  magmark: Measured,
  single: Measured,
  plain: Measured,
): NamedFigure[] {
  return RATES.flatMap((rate, at) =>
    QUANTILES.flatMap(which => {
      const added = (each: Measured) => figures(addedBy(each.trips[at]!, plain.trips[at]!, which));
      const ratio = (each: Measured) => added(each).median / added(single).median;
      const name = `added ${which.name} at ${rate} packets/s`;
      const judged = [
        named(`${name}, magmark to ${single.name}`, '', figures([ratio(magmark)]), { target: atMost(1) }),
        ...measured
          .filter(each => each.name === AGAIN_NAME || each.name === SPINNING)
          .map(each => named(`${name}, ${each.name} to ${single.name}`, '', figures([ratio(each)]))),
      ];
      const stated = measured
        .filter(each => each !== plain)
        .map(each => named(`${name}, ${each.name}`, 'us', added(each), { ratio: ratio(each) }));
      return which.name === 'p99' && rate <= LOW_LOAD ? [...judged, ...stated] : stated;
    }),
  );
}

/** What one way through the queue adds, by the rate. */
export interface LatencyCurve {
  readonly contestant: string;
  readonly quantile: Quantile['name'];
  /** Packets a second, and microseconds: medians of the turns. */
  readonly points: readonly (readonly [rate: number, microseconds: number])[];
}

export function latencyCurves(measured: readonly Measured[]): LatencyCurve[] {
  const plain = measured.find(({ name }) => name === PLAIN_NAME)!;
  return QUANTILES.filter(({ together }) => !together).flatMap(which =>
    measured
      .filter(each => each !== plain)
      .map(({ name, trips }) => ({
        contestant: name,
        quantile: which.name,
        points: RATES.map(
          (rate, at) => [rate, figures(addedBy(trips[at]!, plain.trips[at]!, which)).median] as const,
        ),
      })),
  );
}
