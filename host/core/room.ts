/** What a configuration asks of the core's memory, by the numbers of its parts: known before anything is built. */
import type { Config } from '../types/config.js';
import { ImageError } from '../types/errors.js';
import type { Core } from './wasm.js';

/** Parts of flows as they are written, of hidden flows too: many may turn out to be one, and listing them all has a cost. */
interface Parts {
  readonly flows: number;
  readonly prefixes: number;
  readonly ranges: number;
  readonly byteMatches: number;
}

function partsOf({ flows }: Config): Parts {
  let [records, prefixes, ranges, byteMatches] = [0, 0, 0, 0];
  for (const flow of flows) {
    const hidden = flow.udpEncapPort === null ? 0 : 1;
    records += 1 + hidden;
    prefixes += (1 + hidden) * (flow.vips.length + flow.sourceSubnets.length);
    ranges += hidden + flow.destinationPortRanges.length + flow.sourcePortRanges.length;
    byteMatches += flow.byteMatches.length;
  }
  return { flows: records, prefixes, ranges, byteMatches };
}

function bytesOf({ Layout }: Core, { flows, prefixes, ranges, byteMatches }: Parts): number {
  return (
    flows * Layout.FlowBytes +
    prefixes * Layout.CidrBytes +
    ranges * Layout.RangeBytes +
    byteMatches * Layout.ByteMatchBytes
  );
}

/**
 * @param freeBytes of the core's memory
 * @returns bytes of the records of all flows
 * @throws ImageError if they are more than are free
 */
export function refuseTooManyParts(core: Core, config: Config, freeBytes: number): number {
  const parts = partsOf(config);
  const bytes = bytesOf(core, parts);
  if (bytes > freeBytes)
    throw new ImageError(
      `${parts.flows} flows with ${parts.prefixes} prefixes, ${parts.ranges} port ranges and ${parts.byteMatches} byte matches ` +
        `need ${bytes} bytes of the core's memory, of which ${freeBytes} are free`,
    );
  return bytes;
}

/** What is to be told of flows that have no classifier for want of room: the same however much room there was. */
export function withoutClassifier(config: Config): string {
  const { flows, prefixes, ranges } = partsOf(config);
  return (
    `flows: each packet tries all ${flows} in turn, which is slow: the classifier of so many with ${prefixes} prefixes and ` +
    `${ranges} port ranges does not fit the core's memory. Join prefixes or port ranges`
  );
}
