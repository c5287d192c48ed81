/**
 * The rules of many targets as a tree: the kernel walks its rules one by one, so a plain list costs each packet as many
 * steps as there are targets. Pure.
 *
 * Entries at priority 1 lead whole blocks of marks (`fwmark VALUE/MASK goto N`) to rules far behind all others. They lead
 * marks of the streams alone, since `goto` leads forward only: there is no way back to main. A block holds the lookups of
 * its targets, or leads on to smaller blocks, and ends in a blackhole.
 *
 * The kernel takes two `goto` of one priority and mark for the same rule, wherever they lead. So a block's place follows
 * from its marks alone, and two trees whose marks differ can stand side by side while one becomes the other.
 */
import { WHOLE_MARK } from '../types/marks.js';
import { type MarkBlock, type MarkRange, markBlocks, unitedRanges } from './marks.js';

/** What a rule of the tree does with packets of a mark; see `Rule`. */
export interface TreeRule {
  readonly priority: number;
  readonly fwmark: MarkBlock | null;
  readonly table: number | null;
  readonly goto?: number;
  readonly unreachable?: true;
}

export interface TreeShape {
  /** A block that leads on leads to at most 2^bits others. */
  readonly bits: number;
  /** At most so many targets are looked up in one block: a power of two, at least 2^bits. */
  readonly lookups: number;
}

/** Speed hardly depends on it (`npm run bench:rules -- --shapes`); this one takes few rules, also where targets are far apart. */
export const TREE_SHAPE: TreeShape = { bits: 2, lookups: 16 };

/** Where whole blocks of marks are led away: before whatever else takes marks. */
export const ENTRY_PRIORITY = 1;
/** Behind main and default: refuses what they refuse, so that it does not walk the blocks too. */
export const GUARD_PRIORITY = 999_999;
/** The block of marks from m on stands at 1,000,000 + 10 m, or a little before where it leads on; its end follows. */
const FIRST_BLOCK = 1_000_000;
const STRIDE = 10;
/** Those above have no place below 2^32. */
export const HIGHEST_TREE_MARK = Math.floor((2 ** 32 - 1 - FIRST_BLOCK) / STRIDE) - 1;

/**
 * @param marks   of the targets, up to HIGHEST_TREE_MARK
 * @param ranges  all marks of the streams: those without a target are led to a blackhole too
 * @returns rules in an order in which they can be added under traffic: each behind those that it leads to
 */
export function markTree(
  marks: readonly number[],
  ranges: readonly MarkRange[],
  shape: TreeShape = TREE_SHAPE,
): TreeRule[] {
  const sorted = Float64Array.from(new Set(marks)).sort();
  const own = [...ranges, ...sorted].map(range =>
    typeof range === 'number' ? { first: range, last: range } : range,
  );
  // Large ones first: fewer steps for most.
  const blocks = unitedRanges(own)
    .flatMap(markBlocks)
    .sort((one, other) => sizeOf(other) - sizeOf(one));
  const rules: TreeRule[] = [{ priority: GUARD_PRIORITY, fwmark: null, table: null, unreachable: true }];
  const entries = blocks.flatMap(block => {
    const first = lowerBound(sorted, block.value);
    const held = sorted.subarray(first, lowerBound(sorted, block.value + sizeOf(block)));
    return addBlock(rules, block, held, ENTRY_PRIORITY, shape);
  });
  return [...rules, ...entries];
}

/**
 * Append the rules of `block` to `rules`.
 * @param marks     of the targets in it, ascending
 * @param priority  where it is led to from
 * @returns the rule that leads there: none without targets, and for one target its lookup
 */
function addBlock(
  rules: TreeRule[],
  block: MarkBlock,
  marks: Float64Array,
  priority: number,
  shape: TreeShape,
): TreeRule[] {
  const [only] = marks;
  if (only === undefined) return [];
  if (marks.length === 1) return [lookup(priority, only)];
  const place = placeOf(block, shape);
  const held: TreeRule[] = [];
  if (marks.length <= shape.lookups) {
    for (const mark of marks) held.push(lookup(place, mark));
  } else {
    const size = shape.lookups * 2 ** (shape.bits * (levelOf(block, shape) - 2));
    for (let first = 0; first < marks.length; ) {
      const value = marks[first]! - (marks[first]! % size);
      const next = lowerBound(marks, value + size);
      const part = { value, mask: 2 ** 32 - size };
      held.push(...addBlock(rules, part, marks.subarray(first, next), place, shape));
      first = next;
    }
  }
  rules.push(...held, { priority: place + 1, fwmark: block, table: null });
  return [{ priority, fwmark: block, table: null, goto: place }];
}

function lookup(priority: number, mark: number): TreeRule {
  return { priority, fwmark: { value: mark, mask: WHOLE_MARK }, table: mark };
}

/**
 * Before those of the blocks that this one leads to. The number behind it is that of its end. Where two blocks share a
 * place, each of their rules still takes its own marks alone.
 */
function placeOf(block: MarkBlock, shape: TreeShape): number {
  return FIRST_BLOCK + STRIDE * block.value - 2 * (levelOf(block, shape) - 1);
}

/** 1: it need not be parted. Sizes are the same wherever a range begins or ends, so blocks stay when it moves. */
function levelOf(block: MarkBlock, { bits, lookups }: TreeShape): number {
  return 1 + Math.max(0, Math.ceil(Math.log2(sizeOf(block) / lookups) / bits));
}

function sizeOf({ mask }: MarkBlock): number {
  return 2 ** 32 - mask;
}

/** Index of the first that is not below `value`. */
function lowerBound(sorted: Float64Array, value: number): number {
  let [first, end] = [0, sorted.length];
  while (first < end) {
    const middle = (first + end) >> 1;
    if (sorted[middle]! < value) first = middle + 1;
    else end = middle;
  }
  return first;
}
