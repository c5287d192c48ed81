/** Ranges of firewall marks as value/mask blocks, the only form that an ip rule takes. */

/** Marks m with `(m & mask) == value`; both u32. */
export interface MarkBlock {
  readonly value: number;
  readonly mask: number;
}

/** What a rule compares of a packet's mark that is to be in `block`, where our marks have the bits of `markMask` alone. */
export function under({ value, mask }: MarkBlock, markMask: number): MarkBlock {
  return { value, mask: (mask & markMask) >>> 0 };
}

/** u32, first <= last */
export interface MarkRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The fewest aligned blocks that together hold exactly the marks first..last.
 * @returns at most 62 blocks, ascending
 */
export function markBlocks(range: MarkRange): MarkBlock[] {
  const blocks: MarkBlock[] = [];
  let first = range.first;
  while (first <= range.last) {
    let size = 1;
    while (first % (size * 2) === 0 && first + size * 2 - 1 <= range.last) {
      size *= 2;
    }
    blocks.push({ value: first, mask: 2 ** 32 - size });
    first += size;
  }
  return blocks;
}

/** The same marks in the fewest ranges, ascending. */
export function unitedRanges(ranges: readonly MarkRange[]): MarkRange[] {
  const united: MarkRange[] = [];
  for (const range of ranges.toSorted((one, other) => one.first - other.first)) {
    const before = united.at(-1);
    if (before !== undefined && range.first <= before.last + 1) {
      united[united.length - 1] = { first: before.first, last: Math.max(before.last, range.last) };
    } else {
      united.push(range);
    }
  }
  return united;
}
