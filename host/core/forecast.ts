/** What is known of a configuration's image without building it: for who has no daemon to ask. */
import type { Config } from '../types/config.js';
import { CLASSIFIER_LIMITS } from './classifier.js';
import { takesMoreThan } from './classifier-size.js';
import { NamedCounters } from './counters.js';
import { file } from './filing.js';
import { boxOf } from './flow-box.js';
import { listedFlows } from './flow-records.js';
import { ARENA_BYTES } from './image.js';
import { flowCounters, orderedFlows, recordsOf, targetCounters, targetKeys } from './image-parts.js';
import { refuseTooManyParts, withoutClassifier } from './room.js';
import { compileCore, createMemory, instantiateCore } from './wasm.js';

/** Enough to read the layout by. */
const LAYOUT_BYTES = 0x100000;

/**
 * As if the configuration were the first one of a daemon.
 * @returns what that daemon would warn of
 * @throws ImageError if it does not fit the core's memory
 */
export function forecast(config: Config): string[] {
  const memory = createMemory(LAYOUT_BYTES);
  const core = instantiateCore(compileCore(), memory);
  const flows = orderedFlows(config);
  new NamedCounters(core, memory, 1, flowCounters(core)).refuseTooMany(flows.map(({ name }) => name));
  new NamedCounters(core, memory, 1, targetCounters(core)).refuseTooMany(targetKeys(config.streams));
  const free = ARENA_BYTES - refuseTooManyParts(core, config, ARENA_BYTES);
  if (flows.length < CLASSIFIER_LIMITS.leastFlows) return [];
  const listed = listedFlows(recordsOf(flows, config, () => 0));
  const boxes = listed.flows.map((flow, index) => boxOf(core, flow, index));
  const filing = file(listed.networks, boxes, CLASSIFIER_LIMITS);
  return takesMoreThan(free, core, listed.networks, boxes, filing, CLASSIFIER_LIMITS)
    ? [withoutClassifier(config)]
    : [];
}
