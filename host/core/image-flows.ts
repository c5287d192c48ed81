/** The flows of an image in the core's memory, their records and their classifier: written once as long as they stay the same. */
import type { Config } from '../types/config.js';
import { ImageError } from '../types/errors.js';
import type { Arena } from './arena.js';
import { type ClassifierLimits, writeClassifier } from './classifier.js';
import {
  type FlowRecord,
  type ListedFlows,
  listedFlows,
  type Place,
  writeFlowRecords,
} from './flow-records.js';
import { withoutClassifier } from './room.js';
import { Slab } from './slab.js';
import type { Core } from './wasm.js';

export interface WrittenFlows extends Place {
  /** Address; 0: the core tries the flows one by one, since they are few, or there is no room for more. */
  readonly classifier: number;
  readonly warnings: readonly string[];
  /** All that was allocated for it. */
  readonly addresses: readonly number[];
  /** What it was made of: flows name their streams, whose places are in the records. */
  readonly flows: Config['flows'];
  readonly streams: readonly string[];
}

/** Where it is written. */
export interface FlowsPlace {
  readonly core: Core;
  readonly memory: WebAssembly.Memory;
  readonly arena: Arena;
  readonly limits: ClassifierLimits;
}

/**
 * Whether `written` serves `config` too: it has the very same flows, as when a target comes or goes, and the same streams in
 * the same order. What found no room for its classifier serves nobody else: there may be room by now.
 */
export function areFlowsOf(written: WrittenFlows, { flows, streams }: Config): boolean {
  return (
    written.flows === flows &&
    written.warnings.length === 0 &&
    written.streams.length === streams.length &&
    streams.every(({ name }, index) => name === written.streams[index])
  );
}

/** @param records of all flows, in their order. @throws ImageError if they do not fit; nothing is allocated then */
export function writeFlows(place: FlowsPlace, config: Config, records: readonly FlowRecord[]): WrittenFlows {
  const { core, memory, arena, limits } = place;
  const listed = listedFlows(records);
  const addresses: number[] = [];
  const flows = allOrNone(arena, addresses, allocate => {
    const slab = new Slab(allocate);
    return writeFlowRecords(core, memory, listed, bytes => slab.place(bytes, 16));
  });
  const made = { addresses, flows: config.flows, streams: config.streams.map(({ name }) => name) };
  if (records.length < limits.leastFlows) return { ...flows, ...made, classifier: 0, warnings: [] };
  const classifier = classifierOf(place, listed, addresses);
  const warnings = classifier === null ? [withoutClassifier(config)] : [];
  return { ...flows, ...made, classifier: classifier ?? 0, warnings };
}

/** Address of the classifier; null: there is no room for it. */
function classifierOf(
  { core, memory, arena, limits }: FlowsPlace,
  listed: ListedFlows,
  addresses: number[],
): number | null {
  const { freeBytes } = arena;
  try {
    return allOrNone(arena, addresses, allocate =>
      writeClassifier(core, memory, listed, allocate, freeBytes, limits),
    );
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    return null;
  }
}

/** What `write` allocates is added to `addresses`, or freed if it throws. */
function allOrNone<Result>(
  arena: Arena,
  addresses: number[],
  write: (allocate: (bytes: number) => number) => Result,
): Result {
  const own: number[] = [];
  try {
    const result = write(bytes => {
      const address = arena.allocate(bytes);
      own.push(address);
      return address;
    });
    addresses.push(...own);
    return result;
  } catch (error) {
    for (const address of own) arena.free(address);
    throw error;
  }
}
