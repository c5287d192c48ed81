/** Policy routing: what is wanted, against what the kernel lists, as lines for batches of `ip`. Pure. */
import type { Family, Host, Prefix } from '../types/config.js';
import { ClashError } from '../types/errors.js';
import { BLACKHOLE_TABLE, EGRESS_TABLE } from '../types/marks.js';
import { type Claims, tableKey } from './claims.js';
import { markBlocks, WHOLE_MARK } from './marks.js';
import { assignPriorities, EGRESS_END_PRIORITY, EGRESS_PRIORITY, MARK_END_PRIORITY } from './priority.js';
import {
  hasOurShape,
  isRoute,
  type ListedRoute,
  listedRouteText,
  routeText,
  type WantedRoute,
} from './route.js';
import { type Rule, type RuleListing, ruleKey, ruleText, servesMark } from './rule.js';
import type { WantedKernel } from './wanted.js';

/** What the kernel lists. */
export interface RoutingListing {
  /** Those for which something is wanted; rules and routes of another may be listed, to be removed. */
  readonly families: readonly Family[];
  readonly rules: readonly RuleListing[];
  /** Default routes outside main. */
  readonly routes: readonly ListedRoute[];
}

export interface WantedRouting {
  readonly rules: readonly Rule[];
  readonly routes: readonly WantedRoute[];
}

/** One line for a batch, and what follows from its failure. */
export interface Change {
  readonly family: Family;
  readonly line: string;
  /** The route that it sets, whose refusal may be borne; null: a rule. */
  readonly route: WantedRoute | null;
}

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
  const priorities = assignPriorities(
    wanted.targets.map(target => target.fwmark),
    listing.rules,
    rule => ours.has(ruleKey(rule)),
  );
  const rules: Rule[] = [];
  const routes: WantedRoute[] = [];
  for (const family of listing.families) {
    for (const block of wanted.markRanges.flatMap(markBlocks)) {
      rules.push({ family, priority: MARK_END_PRIORITY, fwmark: block, from: null, table: null });
    }
    const gateways = addressesOf(family, wanted.gateways);
    if (wanted.vips.some(vip => vip.family === family)) {
      routes.push(blackholeRoute(family));
    }
    if (gateways.length > 0) {
      routes.push(gatewayRoute(family, gateways, wanted.interfaces.external));
    }
    for (const from of wanted.vips.filter(vip => vip.family === family).flatMap(sourceTexts)) {
      rules.push({ family, priority: EGRESS_PRIORITY, fwmark: null, from, table: EGRESS_TABLE });
      rules.push({ family, priority: EGRESS_END_PRIORITY, fwmark: null, from, table: BLACKHOLE_TABLE });
    }
    for (const { fwmark, nextHops, label } of wanted.targets) {
      const [gateway] = addressesOf(family, nextHops);
      if (gateway !== undefined) {
        const priority = priorities.get(fwmark)!;
        rules.push({
          family,
          priority,
          fwmark: { value: fwmark, mask: WHOLE_MARK },
          from: null,
          table: fwmark,
        });
        routes.push({ family, table: fwmark, gateways: [gateway], device: null, label, purpose: 'target' });
      }
    }
  }
  return { rules: [...new Map(rules.map(rule => [ruleKey(rule), rule])).values()], routes };
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

function addressesOf(family: Family, hosts: WantedKernel['gateways']): string[] {
  return [...new Set(hosts.filter(host => host.family === family).map(host => host.address))];
}

function blackholeRoute(family: Family): WantedRoute {
  const label = 'end of egress';
  return { family, table: BLACKHOLE_TABLE, gateways: [], device: null, label, purpose: 'blackhole' };
}

function gatewayRoute(family: Family, gateways: string[], device: string | null): WantedRoute {
  return { family, table: EGRESS_TABLE, gateways, device, label: 'gateways', purpose: 'gateway' };
}

/** @throws ClashError if a default route that is not ours stands in a table that is wanted */
export function refuseForeignRoutes(wanted: WantedRouting, listing: RoutingListing, claims: Claims): void {
  const claimed = new Set(claims.routes.map(tableKey));
  const tables = new Set(wanted.routes.map(tableKey));
  for (const route of listing.routes) {
    if (tables.has(tableKey(route)) && !(claimed.has(tableKey(route)) && hasOurShape(route))) {
      const hops = route.hops.flatMap(hop => (hop.gateway === null ? [] : [` via ${hop.gateway}`])).join('');
      throw new ClashError(
        `IPv${route.family} routing table ${route.table} already holds a default route${hops} ` +
          'that this daemon did not make: remove it, or choose other fwmarks',
      );
    }
  }
}

/** What will be claimed: all that is wanted, save rules that stand already by another hand. */
export function claimsOf(
  wanted: WantedRouting,
  listing: RoutingListing,
  claims: Claims,
): Pick<Claims, 'rules' | 'routes'> {
  const ours = new Set(claims.rules.map(ruleKey));
  const listed = new Set(listing.rules.flatMap(({ rules }) => rules.map(ruleKey)));
  return {
    rules: wanted.rules.filter(rule => ours.has(ruleKey(rule)) || !listed.has(ruleKey(rule))),
    routes: wanted.routes.map(({ family, table }) => ({ family, table })),
  };
}

/**
 * Lines that add what is wanted and not there. Until both stand, a mark meets the blackhole behind the targets' rules,
 * whichever comes first. Rules do: each one of IPv6 that is added makes the kernel walk all tables that there are.
 */
export function additions(wanted: WantedRouting, listing: RoutingListing): Change[] {
  const listed = new Set(listing.rules.flatMap(({ rules }) => rules.map(ruleKey)));
  return [
    ...wanted.rules
      .filter(rule => !listed.has(ruleKey(rule)))
      .map(rule => ({ family: rule.family, line: `rule add ${ruleText(rule)}`, route: null })),
    ...missingRoutes(wanted, listing).map(route => ({
      family: route.family,
      line: `route replace ${routeText(route)}`,
      route,
    })),
  ];
}

/** Next hops of targets that are added: each may have its predecessor's address and another MAC address. */
export function addedHops(wanted: WantedRouting, listing: RoutingListing, claims: Claims): Host[] {
  const ours = new Set(claims.rules.map(ruleKey));
  const served = new Set(
    listing.rules
      .flatMap(({ rules }) => rules)
      .filter(rule => rule.table !== null && servesMark(rule, rule.table) && ours.has(ruleKey(rule)))
      .map(rule => `${rule.family} ${rule.table}`),
  );
  const missing = new Set(missingRoutes(wanted, listing));
  return wanted.routes
    .filter(route => route.purpose === 'target' && (missing.has(route) || !served.has(tableKey(route))))
    .flatMap(({ family, gateways }) => gateways.map(address => ({ family, address })));
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
 * marked packets without a route.
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
  const routes = listing.routes
    .filter(route => claimed.has(tableKey(route)) && hasOurShape(route))
    .filter(route => isStale(route, keptRoutes.get(tableKey(route))))
    .map(route => ({
      family: route.family,
      line: `route del ${listedRouteText(route)}`,
      claim: { family: route.family, table: route.table },
    }));
  return [
    ...stale.filter(({ claim }) => claim.table !== null),
    ...routes,
    ...stale.filter(({ claim }) => claim.table === null),
  ];
}

/**
 * A former next hop whose successor the kernel refuses must not go on taking the target's packets. A gateway route that
 * differs may be the wanted one with one of its links down: it stays.
 */
function isStale(listed: ListedRoute, wanted: WantedRoute | undefined): boolean {
  return wanted === undefined || (wanted.purpose === 'target' && !isRoute(listed, wanted));
}
