/** Who has which mark, in the order of marks: what was decided by a former image finds its target by it. */
import type { Stream } from '../types/config.js';
import type { Place } from './flow-records.js';
import type { Core } from './wasm.js';

/** Targets of a memory are fewer (Limit.TargetCounters), and so are their marks' places in a number's 53 bits. */
const PLACES = 2 ** 20;

/** All targets of `streams`. Of those that share a mark the first one stands first. */
export function writeMarkOwners(
  { Layout }: Core,
  memory: WebAssembly.Memory,
  streams: readonly Stream[],
  allocate: (bytes: number) => number,
): Place {
  const owners = streams.flatMap(({ targets }, stream) =>
    targets.map(({ fwmark, identifier }) => ({ fwmark, stream, target: identifier - 1 })),
  );
  if (owners.length === 0) return { address: 0, count: 0 };
  // Numbers are sorted in a fraction of the time that a comparison in JavaScript would take.
  const order = Float64Array.from(owners, ({ fwmark }, place) => fwmark * PLACES + place).sort();
  const address = allocate(owners.length * Layout.OwnerBytes);
  const view = new DataView(memory.buffer);
  order.forEach((key, index) => {
    const { fwmark, stream, target } = owners[key % PLACES]!;
    const at = address + index * Layout.OwnerBytes;
    view.setUint32(at + Layout.OwnerMark, fwmark, true);
    view.setUint32(at + Layout.OwnerStream, stream, true);
    view.setUint32(at + Layout.OwnerTarget, target, true);
  });
  return { address, count: owners.length };
}
