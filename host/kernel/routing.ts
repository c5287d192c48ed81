/** Policy routing: what is wanted, against what the kernel lists, as lines for batches of `ip`. Pure. */
import { addressKey, addressNumber, prefixInterval } from '../types/address.js';
import type { Family, Host, Prefix } from '../types/config.js';
import { BLACKHOLE_TABLE, EGRESS_TABLE, KERNEL_TABLES, WHOLE_MARK } from '../types/marks.js';
import { type Claims, type TableClaim, tableKey } from './claims.js';
import { foreignRoutes } from './clash.js';
import { markBlocks, under } from './marks.js';
import { askText, forgetText, knownHosts, type Neighbours, neighbourKey } from './neighbour.js';
import { type LinkRoute, OnLink } from './on-link.js';
import { EGRESS_END_PRIORITY, EGRESS_PRIORITY, HAIRPIN_PRIORITY, MARK_END_PRIORITY } from './priority.js';
import {
  hasOurShape,
  isFormerEgress,
  isRoute,
  type ListedRoute,
  listedRouteText,
  type NarrowRoute,
  routeText,
  type WantedRoute,
} from './route.js';
import { endsWalk, type Rule, type RuleListing, ruleKey, ruleText, servesMark } from './rule.js';
import { targetRules } from './target-rules.js';
import type { NextHop, WantedKernel } from './wanted.js';

/** What the kernel lists. */
export interface RoutingListing {
  /** Those for which something is wanted; rules and routes of another may be listed, to be removed. */
  readonly families: readonly Family[];
  readonly rules: readonly RuleListing[];
  /** Default routes outside main. */
  readonly routes: readonly ListedRoute[];
  /** Main's routes to networks that interfaces of this host are in. */
  readonly links: readonly LinkRoute[];
  /** Routes to less than everything in tables that were inspected. */
  readonly narrow: readonly NarrowRoute[];
}

export interface WantedRouting {
  readonly rules: readonly Rule[];
  readonly routes: readonly WantedRoute[];
  /** Tables that BIRD fills. */
  readonly egress: readonly TableClaim[];
}

export const NO_ROUTING: WantedRouting = { rules: [], routes: [], egress: [] };

/** One line for a batch, and what follows from its failure. */
export interface Change {
  readonly family: Family;
  readonly line: string;
  readonly of: ChangedThing;
}

/** A route's refusal may be borne; `forget` and `ask` are about a neighbour's entry. */
export type ChangedThing =
  | { readonly kind: 'rule' }
  | { readonly kind: 'forget' | 'ask'; readonly address: string }
  | { readonly kind: 'route'; readonly route: WantedRoute };

/** One thing of ours that goes. */
export interface Removal {
  readonly family: Family;
  readonly line: string;
  /** What is claimed no more when it is gone. */
  readonly claim: Rule | { readonly family: Family; readonly table: number };
}

/** The rules and routes of a configuration; priorities depend on what stands. */
export function wantedRouting(wanted: WantedKernel, listing: RoutingListing, claims: Claims): WantedRouting {
  const ours = new Set(claims.rules.map(ruleKey));
  const onLink = new OnLink(listing.links);
  const rules: Rule[] = [];
  const routes: WantedRoute[] = [];
  for (const family of listing.families) {
    const anything = { family, fwmark: null, from: null, to: null, table: null };
    for (const block of wanted.markRanges.flatMap(markBlocks)) {
      rules.push({ ...anything, priority: MARK_END_PRIORITY, fwmark: under(block, wanted.markMask) });
    }
    if (wanted.vips.some(vip => vip.family === family)) {
      routes.push({ family, table: BLACKHOLE_TABLE, gateway: null, device: null, label: 'end of egress' });
    }
    for (const from of wanted.vips.filter(vip => vip.family === family).flatMap(sourceTexts)) {
      rules.push({ ...anything, priority: EGRESS_PRIORITY, from, table: EGRESS_TABLE });
      rules.push({ ...anything, priority: EGRESS_END_PRIORITY, from, table: BLACKHOLE_TABLE });
    }
    for (const to of targetSubnets(family, wanted, listing.links)) {
      const table = KERNEL_TABLES.main;
      rules.push({
        ...anything,
        priority: HAIRPIN_PRIORITY,
        fwmark: under(UNMARKED, wanted.markMask),
        to,
        table,
      });
    }
    for (const { fwmark, nextHops, label } of wanted.targets) {
      const hop = nextHops.find(host => host.family === family);
      if (hop !== undefined) {
        const device = onLink.deviceOf(hop);
        routes.push({ family, table: fwmark, gateway: hop.address, device, label });
      }
    }
  }
  rules.push(...targetRules(listing.families, wanted, listing.rules, rule => ours.has(ruleKey(rule))));
  const egress = wanted.egress
    .filter(family => listing.families.includes(family))
    .map(family => ({ family, table: EGRESS_TABLE }));
  return { rules: [...new Map(rules.map(rule => [ruleKey(rule), rule])).values()], routes, egress };
}

/** Packets that nobody has decided about. */
const UNMARKED = { value: 0, mask: WHOLE_MARK };

/**
 * Networks of targets. An answer from a VIP to a client that is a target itself goes straight to it: the gateways, where
 * answers from VIPs go otherwise, know nothing of these networks.
 */
function targetSubnets(family: Family, wanted: WantedKernel, links: readonly LinkRoute[]): string[] {
  const hops = wanted.targets
    .flatMap(target => target.nextHops)
    .filter(host => host.family === family)
    .map(host => addressNumber(host.address));
  const subnets = links
    .filter(link => link.family === family && link.isSubnet)
    .filter(link => {
      const { first, last } = prefixInterval(link);
      return hops.some(hop => first <= hop && hop <= last);
    })
    .map(({ address, length }) => `${address}/${length}`);
  // Two interfaces may be in one network.
  return [...new Set(subnets)];
}

/**
 * A VIP of all addresses as two halves: a rule `from all` that is added or deleted is taken by the kernel for any rule of
 * its priority and table.
 */
function sourceTexts({ family, address, length }: Prefix): string[] {
  if (length > 0) {
    return [`${address}/${length}`];
  }
  return family === 4 ? ['0.0.0.0/1', '128.0.0.0/1'] : ['::/1', '8000::/1'];
}

/** What will be claimed: all that is wanted, save rules and default routes that stand already by another hand. */
export function claimsOf(
  wanted: WantedRouting,
  listing: RoutingListing,
  claims: Claims,
): Pick<Claims, 'rules' | 'routes'> {
  const ours = new Set(claims.rules.map(ruleKey));
  const listed = new Set(listing.rules.flatMap(({ rules }) => rules.map(ruleKey)));
  const claimed = new Set(claims.routes.map(tableKey));
  const foreign = new Set(foreignRoutes(wanted, listing, claims).map(tableKey));
  return {
    rules: wanted.rules.filter(rule => ours.has(ruleKey(rule)) || !listed.has(ruleKey(rule))),
    routes: [...wanted.routes, ...wanted.egress]
      .map(({ family, table }) => ({ family, table }))
      .filter(claim => claimed.has(tableKey(claim)) || !foreign.has(tableKey(claim))),
  };
}

/**
 * Lines that add what is wanted and not there. A table with a default route by another hand is left to it: to replace
 * that one, or to stand beside it, would be to touch what is not ours. Until both stand, a mark meets the blackhole behind the targets' rules,
 * whichever comes first. Rules do: each one of IPv6 that is added makes the kernel walk all tables that there are.
 */
export function additions(
  wanted: WantedRouting,
  listing: RoutingListing,
  foreign: readonly ListedRoute[] = [],
): Change[] {
  const taken = new Set(foreign.map(tableKey));
  const listed = new Set(listing.rules.flatMap(({ rules }) => rules.map(ruleKey)));
  return [
    ...wanted.rules
      .filter(rule => !listed.has(ruleKey(rule)))
      .map(rule => ({
        family: rule.family,
        line: `rule add ${ruleText(rule)}`,
        of: { kind: 'rule' as const },
      })),
    ...missingRoutes(wanted, listing)
      .filter(route => !taken.has(tableKey(route)))
      .map(route => ({
        family: route.family,
        line: `route replace ${routeText(route)}`,
        of: { kind: 'route' as const, route },
      })),
  ];
}

/**
 * Lines about neighbours: those of targets that are added are forgotten, since each may have its predecessor's address and
 * another MAC address; and whoever has not answered is asked.
 * @param asks  whether anybody is: only who is going to wait for the answers does
 */
export function neighbourChanges(
  wanted: WantedRouting,
  listing: RoutingListing,
  claims: Claims,
  neighbours: Neighbours,
  asks: boolean,
): { readonly changes: Change[]; readonly asked: NextHop[]; readonly forgotten: Host[] } {
  const forgotten = knownHosts(addedHops(wanted, listing, claims), neighbours);
  const anew = new Set(forgotten.map(({ address }) => addressKey(address)));
  const hops = asks ? wanted.routes.flatMap(nextHopOf) : [];
  const asked = hops.filter(
    hop => anew.has(addressKey(hop.address)) || neighbours.get(neighbourKey(hop)) !== 'valid',
  );
  const changes: Change[] = [
    ...forgotten.map(host => ({
      family: host.family,
      line: forgetText(host),
      of: { kind: 'forget' as const, address: host.address },
    })),
    ...asked.map(hop => ({
      family: hop.family,
      line: askText(hop),
      of: { kind: 'ask' as const, address: hop.address },
    })),
  ];
  return { changes, asked, forgotten };
}

function nextHopOf({ family, gateway, device }: WantedRoute): NextHop[] {
  return gateway === null || device === null ? [] : [{ family, address: gateway, device }];
}

/** Next hops of targets that are added. */
export function addedHops(wanted: WantedRouting, listing: RoutingListing, claims: Claims): Host[] {
  const ours = new Set(claims.rules.map(ruleKey));
  const served = new Set(
    listing.rules
      .flatMap(({ rules }) => rules)
      .filter(rule => rule.table !== null && servesMark(rule, rule.table) && ours.has(ruleKey(rule)))
      .map(rule => `${rule.family} ${rule.table}`),
  );
  const missing = new Set(missingRoutes(wanted, listing));
  const used = new Set(
    listing.routes
      .filter(route => served.has(tableKey(route)))
      .flatMap(({ hops }) => hops.flatMap(({ gateway }) => (gateway === null ? [] : [addressKey(gateway)]))),
  );
  return wanted.routes
    .filter(route => route.gateway !== null && (missing.has(route) || !served.has(tableKey(route))))
    .filter(({ gateway }) => !used.has(addressKey(gateway!)))
    .map(({ family, gateway }) => ({ family, address: gateway! }));
}

function missingRoutes(wanted: WantedRouting, listing: RoutingListing): WantedRoute[] {
  const byTable = new Map<string, ListedRoute[]>();
  for (const route of listing.routes) {
    byTable.set(tableKey(route), [...(byTable.get(tableKey(route)) ?? []), route]);
  }
  return wanted.routes.filter(
    route => !(byTable.get(tableKey(route)) ?? []).some(listedRoute => isRoute(listedRoute, route)),
  );
}

/**
 * Lines that remove what is ours and not wanted: targets' and VIPs' rules, then routes, and last the rules that drop
 * marked packets without a route. Rules that lead elsewhere go before all others: while one of the family stands, the
 * kernel looks through all rules for those that lead to the one that goes. Else they go by their priority, as the kernel
 * lists them: so none leads any more to those that go after it, and each is found at once, since the search for it begins
 * at the head of the list.
 */
export function removals(wanted: WantedRouting, listing: RoutingListing, claims: Claims): Removal[] {
  const ours = new Set(claims.rules.map(ruleKey));
  const kept = new Set(wanted.rules.map(ruleKey));
  const stale = listing.rules
    .flatMap(({ rules }) => rules)
    .filter(rule => ours.has(ruleKey(rule)) && !kept.has(ruleKey(rule)))
    .map(rule => ({ family: rule.family, line: `rule del ${ruleText(rule)}`, claim: rule }));
  const claimed = new Set(claims.routes.map(tableKey));
  const keptRoutes = new Map(wanted.routes.map(route => [tableKey(route), route]));
  const birds = new Set(wanted.egress.map(tableKey));
  const routes = listing.routes
    .filter(route => claimed.has(tableKey(route)) && hasOurShape(route))
    .filter(route =>
      birds.has(tableKey(route)) ? isFormerEgress(route) : isStale(route, keptRoutes.get(tableKey(route))),
    )
    .map(route => ({
      family: route.family,
      line: `route del ${listedRouteText(route)}`,
      claim: { family: route.family, table: route.table },
    }));
  return [
    ...stale.filter(({ claim }) => claim.goto !== undefined),
    ...stale.filter(({ claim }) => claim.goto === undefined && !endsWalk(claim)),
    ...routes,
    ...stale.filter(({ claim }) => endsWalk(claim)),
  ];
}

/** A former next hop whose successor the kernel refuses must not go on taking the target's packets. */
function isStale(listed: ListedRoute, wanted: WantedRoute | undefined): boolean {
  return wanted === undefined || !isRoute(listed, wanted);
}
