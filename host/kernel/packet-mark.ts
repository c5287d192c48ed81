/** How the tables compare and set the packet's mark: all of it, or the bits of `markMask` alone. Rules of nft, pure. */
import { WHOLE_MARK } from '../types/marks.js';
import type { Statement } from './carrier.js';
import type { MarkBlock } from './marks.js';
import type { NftRule } from './nft-table.js';
import { namedRule } from './statement.js';

const MARK = { meta: { key: 'mark' } };

/** Our bits of the packet's mark, to be compared. */
export function ourBits(markMask: number): object {
  return markMask === WHOLE_MARK ? MARK : { '&': [MARK, markMask] };
}

/** Sets our bits to `value`, the others stay. */
export function setsMark({ value, mask }: MarkBlock): Statement {
  // The bits of `value` are kept too, as nft lists it.
  const kept = { '&': [MARK, (~mask | value) >>> 0] };
  const masked = value === 0 ? kept : { '|': [kept, value] };
  return { mangle: { key: MARK, value: mask === WHOLE_MARK ? value : masked } };
}

/** A rule whose statements are about our bits. Versions of nft list masks and bit operations in different words. */
export function markRule(markMask: number, name: string, statements: readonly Statement[]): NftRule {
  return markMask === WHOLE_MARK ? statements : namedRule(name, statements);
}
