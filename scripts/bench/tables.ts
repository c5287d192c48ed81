/** What Maglev tables cost to build. */

import { CLASSIFIER_LIMITS } from '../../host/core/classifier.js';
import { ARENA_BYTES } from '../../host/core/image.js';
import type { Config } from '../../host/types/config.js';
import { type Figures, figures, milliseconds } from './figures.js';
import { ONE_FLOW } from './shape.js';
import { configOf, storeOf, streamOf } from './workload.js';

export interface Table {
  readonly name: string;
  /** Milliseconds. */
  readonly time: Figures;
  /** What the median shall not be above; null: nothing is promised. */
  readonly targetMs: number | null;
}

const STREAMS = 400;
const TARGETS = 100;

export async function measureTables(rounds: number): Promise<Table[]> {
  const table = (name: string, targetMs: number | null, samples: readonly number[]): Table => ({
    name,
    time: figures(samples),
    targetMs,
  });
  const small = await publications(9_973, rounds);
  const large = await publications(65_537, rounds);
  return [
    table('65,537 slots, 100 targets', 5, populations(65_537, 100, 100, rounds)),
    table('1,000,003 slots, 100 targets', null, populations(1_000_003, 100, 100, rounds)),
    table('1,000,003 slots, 10,000 targets', null, populations(1_000_003, 10_000, 10_000, rounds)),
    table('1,000,003 slots, 3 of 10,000 targets', null, populations(1_000_003, 10_000, 3, rounds)),
    table(`${STREAMS} streams of ${TARGETS} targets and 9,973 slots, from cold`, 1000, small.cold),
    table('the same when one target of one stream leaves', null, small.change),
    table(`${STREAMS} streams of ${TARGETS} targets and 65,537 slots, from cold`, 1000, large.cold),
    table('the same when one target of one stream leaves', null, large.change),
  ];
}

/** Milliseconds of one table in Wasm. */
function populations(size: number, capacity: number, active: number, rounds: number): number[] {
  const { core, memory, images } = storeOf(1);
  const slots = images.arena.allocate(size * 2);
  const flags = images.arena.allocate(capacity);
  const scratch = images.arena.allocate(core.populateScratchBytes(capacity));
  new Uint8Array(memory.buffer, flags, capacity).fill(1, 0, active);
  return Array.from({ length: rounds }, () =>
    milliseconds(() => {
      if (core.populate(slots, size, flags, capacity, scratch) !== core.Reason.Ok)
        throw new Error(`${size} is no prime`);
    }),
  );
}

/** Milliseconds of an image of all streams, and of the next, in which one table is new. */
async function publications(size: number, rounds: number): Promise<{ cold: number[]; change: number[] }> {
  const config: Config = {
    ...configOf(ONE_FLOW[4], 1),
    // Streams with the same targets in the same places share one table: these have other capacities.
    streams: Array.from({ length: STREAMS }, (_, stream) =>
      streamOf(stream, TARGETS, size, TARGETS + stream),
    ),
  };
  const [first, ...others] = config.streams;
  const changed: Config = {
    ...config,
    streams: [{ ...first!, targets: first!.targets.slice(1) }, ...others],
  };
  const cold: number[] = [];
  const change: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const { images } = storeOf(1, CLASSIFIER_LIMITS, ARENA_BYTES);
    cold.push(milliseconds(() => images.publish(config)));
    const before = images.current!.streams;
    await images.retire();
    change.push(milliseconds(() => images.publish(changed)));
    const rebuilt = images.current!.streams.filter(({ table }, index) => table !== before[index]!.table);
    if (rebuilt.length !== 1) throw new Error(`${rebuilt.length} tables were built anew`);
  }
  return { cold, change };
}
