/** The ladder: the program in C with one option changed at a time, each beside the batched one of the same round. */
import { type Figures, figures, median, quantile, ratios } from '../figures.js';
import type { Progress } from '../progress.js';
import type { Compiled } from './compile.js';
import { BATCHED, inC, QUEUE_LENGTH, SINGLE } from './contestant.js';
import { roundTrips, saturate, stream } from './measure.js';
import type { QueueNetwork } from './network.js';
import { byTurns, CONNECTIONS, type Span } from './rounds.js';

export interface Rung {
  readonly axis: string;
  readonly options: readonly string[];
}

/** Later words of the command line win. */
const changed = (axis: string, ...options: readonly string[]): Rung => ({
  axis,
  options: [...BATCHED, ...options],
});

/** The first is what the others are compared with. */
export const LADDER: readonly Rung[] = [
  changed('as magmark: 64, one recvmmsg, one send'),
  { axis: 'one packet, one verdict', options: SINGLE },
  ...[8, 16, 32, 128].map(batch => changed(`batch ${batch}`, '--batch', `${batch}`)),
  changed('several recvmsg', '--receive', 'recvmsg'),
  changed('a send for each verdict', '--verdicts', 'each'),
  changed('one batch verdict', '--verdicts', 'batch'),
  ...[20, 100, 1000].map(spin => changed(`spin ${spin} us before sleep`, '--spin', `${spin}`)),
  changed('GSO off', '--gso', 'off'),
  ...[96, 128, 65_535].map(copy => changed(`copy ${copy} bytes`, '--copy', `${copy}`)),
  ...[212_992, 8 << 20].map(bytes => changed(`buffer ${bytes} bytes`, '--buffer', `${bytes}`)),
  changed('busy poll 50 us', '--busy-poll', '50'),
  ...[256, 4096].map(length =>
    changed(`queue of ${length} packets`, '--length', `${length}`, '--buffer', `${length * QUEUE_LENGTH}`),
  ),
];

export interface Step {
  readonly axis: string;
  /** Packets a second under saturation, and as a multiple of the first rung's. */
  readonly rate: Figures;
  readonly ratio: Figures;
  /** System calls a packet that it counted itself. */
  readonly systemCalls: number;
  /** Microseconds, of echo requests among 50,000 packets a second; medians. */
  readonly p50: number;
  readonly p99: number;
  /** Bits a second. */
  readonly tcp: Figures;
}

const RATE = 50_000;

export async function measureLadder(
  network: QueueNetwork,
  compiled: Compiled,
  { rounds, milliseconds }: Span,
  progress: Progress,
): Promise<Step[]> {
  const contestants = LADDER.map(({ axis, options }, n) => inC(network, compiled, axis, 100 + n, options));
  const results = await byTurns(contestants, rounds, progress, 'steps of the ladder', async contestant => ({
    saturated: await saturate(network, contestant, milliseconds),
    trips: await roundTrips(network, contestant, milliseconds, RATE),
    tcp: await stream(network, contestant, milliseconds, CONNECTIONS),
  }));
  const rates = results.map(rung => rung.map(({ saturated }) => saturated.rate));
  return results.map((rung, at) => {
    const counts = rung.map(({ saturated }) => saturated.counts!);
    const sum = (of: 'packets' | 'systemCalls') => counts.reduce((all, each) => all + each[of], 0);
    return {
      axis: LADDER[at]!.axis,
      rate: figures(rates[at]!),
      ratio: ratios(rates[at]!, rates[0]!),
      systemCalls: sum('systemCalls') / sum('packets'),
      p50: median(rung.map(({ trips }) => quantile(trips.microseconds, 0.5))),
      p99: median(rung.map(({ trips }) => quantile(trips.microseconds, 0.99))),
      tcp: figures(rung.map(({ tcp }) => tcp)),
    };
  });
}
