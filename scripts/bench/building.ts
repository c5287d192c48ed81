/** What an image costs to build and to keep, by the number of flows: with the classifier and without. */
import { CLASSIFIER_LIMITS } from '../../host/core/classifier.js';
import { ARENA_BYTES } from '../../host/core/image.js';
import { milliseconds } from './figures.js';
import { BUILT, type Shape } from './shape.js';
import { configOf, storeOf } from './workload.js';

export interface Building {
  readonly shape: string;
  readonly flows: number;
  /** Milliseconds, one sample each: records and tables, and the classifier besides. */
  readonly recordsMs: number;
  readonly classifierMs: number;
  /** Bytes of the core's memory a flow: records, and the classifier besides. */
  readonly recordBytes: number;
  readonly classifierBytes: number;
}

/** @param counts numbers of flows */
export function measureBuilding(counts: readonly number[]): Building[] {
  return BUILT.flatMap(shape => counts.map(flows => measureOne(shape, flows)));
}

function measureOne(shape: Shape, flows: number): Building {
  const config = configOf(shape, flows);
  const publish = (leastFlows: number) => {
    const { images } = storeOf(1, { ...CLASSIFIER_LIMITS, leastFlows }, ARENA_BYTES);
    const ms = milliseconds(() => images.publish(config));
    return { ms, bytes: images.usedBytes / flows };
  };
  const without = publish(Number.POSITIVE_INFINITY);
  const whole = publish(CLASSIFIER_LIMITS.leastFlows);
  return {
    shape: shape.name,
    flows,
    recordsMs: without.ms,
    classifierMs: whole.ms - without.ms,
    recordBytes: without.bytes,
    classifierBytes: whole.bytes - without.bytes,
  };
}
