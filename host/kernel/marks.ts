/** Ranges of firewall marks as value/mask blocks, the only form that an ip rule takes. */

/** Marks m with `(m & mask) == value`; both u32. */
export interface MarkBlock {
  readonly value: number;
  readonly mask: number;
}

export const WHOLE_MARK = 0xffffffff;

/**
 * The fewest aligned blocks that together hold exactly the marks first..last.
 * @param range u32, first <= last
 * @returns at most 62 blocks, ascending
 */
export function markBlocks(range: { readonly first: number; readonly last: number }): MarkBlock[] {
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
