/** What each target of a stream gets: packets so far, and slots of the table now. */
import type { ShareReply } from '../control/api.js';
import type { ImageStore, ImageStream } from '../core/image.js';
import { targetKey } from '../core/image-parts.js';

export interface TargetShare {
  readonly identifier: number;
  readonly packets: number;
  readonly slots: number;
}

/** Of all configured targets, also of inactive ones. */
export function targetShares(images: ImageStore, image: ImageStream): TargetShare[] {
  const { stream } = image;
  const slots = slotsOf(images, image);
  return stream.targets.map(target => ({
    identifier: target.identifier,
    packets: images.targetCounters.read(targetKey(stream, target)),
    slots: slots[target.identifier - 1]!,
  }));
}

/** By identifier. */
export function shareReplies(images: ImageStore, image: ImageStream): ReadonlyMap<number, ShareReply> {
  const shares = targetShares(images, image);
  const total = shares.reduce((sum, { packets }) => sum + packets, 0);
  return new Map(
    shares.map(({ identifier, packets, slots }) => [
      identifier,
      { packets, packetShare: total === 0 ? null : packets / total, slotShare: slots / image.tableSize },
    ]),
  );
}

/** Counted once an image: a table of ten million slots takes some 20 ms. */
const counted = new WeakMap<ImageStream, Uint32Array>();

/** Slots of each index. */
function slotsOf(images: ImageStore, image: ImageStream): Uint32Array {
  const known = counted.get(image);
  if (known !== undefined) return known;
  // The last belongs to no target: empty slots are 0xffff.
  const slots = new Uint32Array(0x10000);
  for (const index of images.table(image)) slots[index]!++;
  const own = slots.slice(0, image.stream.maxTargets);
  counted.set(image, own);
  return own;
}
