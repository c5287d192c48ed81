/** Priorities of few targets' ip rules, always explicit: the kernel's own choice piles up at 0 past a hundred rules. */
import { type Rule, type RuleListing, servesMark } from './rule.js';

const HIGHEST = 99;
const LOWEST_OWN = 2;
/** Where those stand together that find no other place, and the rules of hairpins. */
const SHARED = 1;
export const HAIRPIN_PRIORITY = SHARED;

/** VIP to the gateways' table. */
export const EGRESS_PRIORITY = 100;
/** VIP to the table of the blackhole. */
export const EGRESS_END_PRIORITY = 101;
/** Streams' marks that no target's table took. */
export const MARK_END_PRIORITY = 102;

/**
 * One priority a mark, the same for both families. A mark that a rule of ours serves at 99 to 2 keeps its priority; others
 * take, in their order, the highest of these that no rule of any family uses, and where there is none, 1.
 * @param listings one a family
 * @param isOurs   true for a listed rule that this daemon made
 */
export function assignPriorities(
  fwmarks: readonly number[],
  listings: readonly RuleListing[],
  isOurs: (rule: Rule) => boolean,
): Map<number, number> {
  const taken = new Set(listings.flatMap(listing => listing.all.map(({ priority }) => priority)));
  const kept = new Map<number, number>();
  for (const rule of listings.flatMap(listing => listing.rules)) {
    const usable = rule.priority >= LOWEST_OWN && rule.priority <= HIGHEST;
    if (rule.table !== null && usable && servesMark(rule, rule.table) && isOurs(rule)) {
      kept.set(rule.table, Math.max(rule.priority, kept.get(rule.table) ?? SHARED));
    }
  }
  let next = HIGHEST;
  const assigned = new Map<number, number>();
  for (const fwmark of fwmarks) {
    const existing = kept.get(fwmark);
    if (existing !== undefined) {
      assigned.set(fwmark, existing);
      continue;
    }
    while (next >= LOWEST_OWN && taken.has(next)) {
      next -= 1;
    }
    assigned.set(fwmark, next >= LOWEST_OWN ? next : SHARED);
    next -= 1;
  }
  return assigned;
}
