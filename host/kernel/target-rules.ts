/** The rules that lead targets' marks to their tables: the reference's list while there are few, a tree of them beyond. */
import type { Family } from '../types/config.js';
import { HIGHEST_TREE_MARK, markTree } from './mark-tree.js';
import { under } from './marks.js';
import { assignPriorities } from './priority.js';
import { markRule, type Rule, type RuleListing } from './rule.js';
import type { WantedKernel } from './wanted.js';

/** Up to here the list costs little more than the tree, and reads better: see ARCHITECTURE.md. */
export const MOST_LISTED = 64;

/**
 * @param families those that are served
 * @param listings one a family
 * @param isOurs   true for a listed rule that this daemon made
 * @returns in an order in which they can be added under traffic
 */
export function targetRules(
  families: readonly Family[],
  wanted: WantedKernel,
  listings: readonly RuleListing[],
  isOurs: (rule: Rule) => boolean,
): Rule[] {
  const { targets, markRanges, markMask } = wanted;
  const marksOf = (family: Family): number[] =>
    targets.filter(target => hasFamily(target, family)).map(({ fwmark }) => fwmark);
  if (targets.length > MOST_LISTED && targets.every(({ fwmark }) => fwmark <= HIGHEST_TREE_MARK)) {
    return families.flatMap(family => treeRules(family, marksOf(family), markRanges, markMask));
  }
  const priorities = assignPriorities(
    targets.map(({ fwmark }) => fwmark),
    listings,
    isOurs,
  );
  return families.flatMap(family =>
    marksOf(family).map(fwmark => markRule(family, priorities.get(fwmark)!, fwmark, markMask)),
  );
}

function hasFamily({ nextHops }: WantedKernel['targets'][number], family: Family): boolean {
  return nextHops.some(hop => hop.family === family);
}

/** Each look wants the same thousands, and `ruleKey` knows them again. */
const trees = new Map<Family, { readonly of: string; readonly rules: readonly Rule[] }>();

function treeRules(
  family: Family,
  marks: readonly number[],
  ranges: WantedKernel['markRanges'],
  markMask: number,
): readonly Rule[] {
  const of = JSON.stringify([marks, ranges, markMask]);
  const before = trees.get(family);
  if (before?.of === of) return before.rules;
  const rules = markTree(marks, ranges).map(rule => ({
    ...{ family, from: null, to: null, ...rule },
    fwmark: rule.fwmark === null ? null : under(rule.fwmark, markMask),
  }));
  trees.set(family, { of, rules });
  return rules;
}
