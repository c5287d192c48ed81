/** Places in the core's memory behind the worker areas: first fit, neighbours joined when freed. Off the hot path. */
import { ImageError } from '../types/errors.js';

/** Enough for any record of the image. */
const ALIGNMENT = 16;

interface Gap {
  start: number;
  end: number;
}

export class Arena {
  private gaps: Gap[];
  private readonly sizes = new Map<number, number>();

  /** @param start first byte, @param end behind the last */
  constructor(start: number, end: number) {
    this.gaps = [{ start: roundUp(start), end }];
  }

  /**
   * @returns address of `bytes` bytes with whatever they held before
   * @throws ImageError if no gap is large enough; nothing has changed then
   */
  allocate(bytes: number): number {
    const size = roundUp(Math.max(bytes, 1));
    const index = this.gaps.findIndex(gap => gap.end - gap.start >= size);
    const gap = this.gaps[index];
    if (gap === undefined) {
      throw new ImageError(
        `the configuration needs ${bytes} bytes in one piece of the core's memory; the largest free piece has ${this.largestGap()}`,
      );
    }
    const address = gap.start;
    gap.start += size;
    if (gap.start >= gap.end) this.gaps.splice(index, 1);
    this.sizes.set(address, size);
    return address;
  }

  /** Give back what `allocate` returned. */
  free(address: number): void {
    const size = this.sizes.get(address);
    if (size === undefined) throw new RangeError(`address ${address} was not allocated`);
    this.sizes.delete(address);
    const index = this.gaps.findIndex(gap => gap.start > address);
    this.gaps.splice(index < 0 ? this.gaps.length : index, 0, { start: address, end: address + size });
    this.gaps = this.gaps.reduce<Gap[]>((joined, gap) => {
      const before = joined.at(-1);
      if (before !== undefined && before.end === gap.start) before.end = gap.end;
      else joined.push(gap);
      return joined;
    }, []);
  }

  /** Bytes in use. */
  get used(): number {
    return [...this.sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  /** Bytes that are not in use, in one piece or in many. */
  get freeBytes(): number {
    return this.gaps.reduce((sum, gap) => sum + gap.end - gap.start, 0);
  }

  private largestGap(): number {
    return this.gaps.reduce((largest, gap) => Math.max(largest, gap.end - gap.start), 0);
  }
}

function roundUp(value: number): number {
  return Math.ceil(value / ALIGNMENT) * ALIGNMENT;
}
