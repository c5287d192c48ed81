/** What stands by another hand where our numbers are, as lines for people. Pure. */
import { EGRESS_TABLE, WHOLE_MARK } from '../types/marks.js';
import { type Claims, tableKey } from './claims.js';
import { GUARD_PRIORITY } from './mark-tree.js';
import { MARK_END_PRIORITY } from './priority.js';
import { isBirds, isInOurPlace, type ListedRoute } from './route.js';
import type { RoutingListing, WantedRouting } from './routing.js';
import { type Rule, type RuleOutline, ruleKey } from './rule.js';

/**
 * What stands by another hand where our numbers are: routes in wanted tables, rules that look up a target's table, take
 * marks of ours before our rules do, or stand where a tree of rules is. A rule that is just as wanted is no clash, and neither is one that sends
 * others' packets to the gateways.
 * @returns one line each
 */
export function clashes(
  wanted: WantedRouting,
  listing: RoutingListing,
  claims: Claims,
  markMask = WHOLE_MARK,
): string[] {
  const routes = foreignRoutes(wanted, listing, claims).map(foreignRouteText);
  const own = new Set([...claims.rules, ...wanted.rules].map(ruleKey));
  const targets = new Set(wanted.routes.filter(route => route.gateway !== null).map(tableKey));
  const ends = wanted.rules.filter(rule => rule.priority === MARK_END_PRIORITY);
  const hasTree = wanted.rules.some(rule => rule.priority === GUARD_PRIORITY);
  const rules = listing.rules
    .flatMap(({ all }) => all)
    .filter(({ rule }) => rule === null || !own.has(ruleKey(rule)))
    .flatMap(outline => {
      const what = outlineText(outline);
      if (hasTree && outline.priority >= GUARD_PRIORITY) {
        return [
          `${what} stands among our rules for many targets, from ${GUARD_PRIORITY} on, where packets of others do not come: ` +
            'remove it, or give it a lower priority',
        ];
      }
      if (outline.table !== null && targets.has(tableKey({ family: outline.family, table: outline.table }))) {
        return [`${what} looks up a target's table, and this daemon did not make it: remove it`];
      }
      const meets = ends.some(end => end.family === outline.family && takesMarksOf(outline, end, markMask));
      return meets
        ? [`${what} takes marks of ours before our rules do: remove it, or choose other fwmarks`]
        : [];
    });
  return [...routes, ...narrowRoutes(wanted, listing), ...rules];
}

/** Default routes by another hand in wanted tables. */
export function foreignRoutes(wanted: WantedRouting, listing: RoutingListing, claims: Claims): ListedRoute[] {
  const claimed = new Set(claims.routes.map(tableKey));
  const tables = new Set([...wanted.routes, ...wanted.egress].map(tableKey));
  return (
    listing.routes
      .filter(route => tables.has(tableKey(route)))
      .filter(route => !(claimed.has(tableKey(route)) && isInOurPlace(route)))
      // BIRD runs before its table is claimed.
      .filter(route => !(route.table === EGRESS_TABLE && isBirds(route)))
  );
}

/** One line for each route that takes packets past a target's own: we make none. */
function narrowRoutes(wanted: WantedRouting, { narrow }: RoutingListing): string[] {
  const tables = new Set(wanted.routes.map(tableKey));
  return narrow
    .filter(route => tables.has(tableKey(route)))
    .map(
      ({ family, table, destination }) =>
        `IPv${family} routing table ${table} holds a route to ${destination} that this daemon did not make: ` +
        'packets to it do not go to the target: remove it, or choose other fwmarks',
    );
}

export function foreignRouteText({ family, table, hops }: ListedRoute): string {
  const ways = hops.flatMap(hop => (hop.gateway === null ? [] : [` via ${hop.gateway}`])).join('');
  return (
    `IPv${family} routing table ${table} already holds a default route${ways} ` +
    'that this daemon did not make: remove it, or choose other fwmarks'
  );
}

function outlineText({ family, priority, fwmark, table }: RuleOutline): string {
  const mark = fwmark === null ? '' : ` fwmark 0x${fwmark.value.toString(16)}/0x${fwmark.mask.toString(16)}`;
  return `IPv${family} rule ${priority}:${mark}${table === null ? '' : ` lookup ${table}`}`;
}

/** @param end the rule behind all others for one block of the streams' marks */
function takesMarksOf({ priority, fwmark, inverted }: RuleOutline, end: Rule, markMask: number): boolean {
  // in-front.ts reports what takes any mark of ours.
  if (fwmark === null || (fwmark.mask & markMask) === 0 || inverted || priority > end.priority) {
    return false;
  }
  const block = end.fwmark!;
  const shared = BigInt(fwmark.mask) & BigInt(block.mask);
  return (BigInt(fwmark.value) & shared) === (BigInt(block.value) & shared);
}
