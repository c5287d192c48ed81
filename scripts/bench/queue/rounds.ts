/** All measurements of all contestants, by turns: a round has each of them once, and each round begins with another. */
import { type Figures, figures } from '../figures.js';
import type { Progress } from '../progress.js';
import type { Contestant } from './contestant.js';
import { roundTrips, type Saturated, saturate, stream, systemCalls } from './measure.js';
import type { QueueNetwork, RoundTrip } from './network.js';

export interface Span {
  readonly rounds: number;
  /** Of one measurement. */
  readonly milliseconds: number;
}

/** Packets a second, ascending. */
export const RATES: readonly number[] = [1000, 10_000, 50_000, 150_000];
/** Up to here a queue is mostly empty, and latency is what it takes to wake up. */
export const LOW_LOAD = 50_000;
export const CONNECTIONS = 8;
/**
 * Round trips are measured in short turns, many in a round: whatever else runs on the machine for a millisecond then spoils a
 * turn, and the median of the turns has none of it.
 */
const TRIPS_A_ROUND = 6;
/** Turns of a sample's length. */
const TRIPS_A_SAMPLE = 4;
/** Of the count of system calls, at most. */
const CALL_ROUNDS = 5;

export interface Measured {
  readonly name: string;
  readonly saturated: readonly Saturated[];
  /** Packets a second that reached the receiver. */
  readonly rate: Figures;
  /** By RATES, then by turn. */
  readonly trips: readonly (readonly RoundTrip[])[];
  /** Bits a second, with segmentation offload. */
  readonly tcp: Figures;
  /** By packet; null: nobody answers, or this machine cannot count them. */
  readonly systemCalls: Figures | null;
}

/** `measure` for each contestant in each round. @returns by contestant, then by round */
export async function byTurns<Result>(
  contestants: readonly Contestant[],
  rounds: number,
  progress: Progress,
  what: string,
  measure: (contestant: Contestant) => Promise<Result>,
): Promise<Result[][]> {
  progress.begin(what, rounds * contestants.length);
  const results = contestants.map((): Result[] => []);
  for (let round = 0; round < rounds; round++)
    for (let n = 0; n < contestants.length; n++) {
      const at = (round + n) % contestants.length;
      results[at]!.push(await measure(contestants[at]!));
      progress.step();
    }
  return results;
}

export async function measureAll(
  network: QueueNetwork,
  contestants: readonly Contestant[],
  { rounds, milliseconds }: Span,
  progress: Progress,
): Promise<Measured[]> {
  // Once for nothing: compilers settle.
  for (const contestant of contestants) await saturate(network, contestant, milliseconds);
  const saturated = await byTurns(contestants, rounds, progress, 'packets a second', each =>
    saturate(network, each, milliseconds),
  );
  const trips: RoundTrip[][][] = [];
  for (const rate of RATES)
    trips.push(
      await byTurns(contestants, rounds * TRIPS_A_ROUND, progress, `round trips at ${rate} a second`, each =>
        roundTrips(network, each, Math.ceil(milliseconds / TRIPS_A_SAMPLE), rate),
      ),
    );
  const tcp = await byTurns(contestants, rounds, progress, 'TCP throughput', each =>
    stream(network, each, milliseconds, CONNECTIONS),
  );
  const answering = contestants.filter(({ queue }) => queue !== null);
  const calls = await byTurns(answering, Math.min(rounds, CALL_ROUNDS), progress, 'system calls', each =>
    systemCalls(network, each, milliseconds),
  );
  const measured: Measured[] = [];
  for (const [at, contestant] of contestants.entries()) {
    const counted = (calls[answering.indexOf(contestant)] ?? []).filter(each => each !== null);
    measured.push({
      name: contestant.name,
      saturated: saturated[at]!,
      rate: figures(saturated[at]!.map(each => each.rate)),
      trips: trips.map(rate => rate[at]!),
      tcp: figures(tcp[at]!),
      systemCalls: counted.length === 0 ? null : figures(counted),
    });
  }
  return measured;
}
