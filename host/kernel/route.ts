/**
 * A default route in one of our tables: the wanted one, its text, and the kernel's listing of default routes. Those of
 * table 4096 are BIRD's.
 */

import { addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';
import { BLACKHOLE_TABLE, EGRESS_TABLE } from '../types/marks.js';

/** As BIRD's routes have it in the reference. */
export const GATEWAY_METRIC = 32;

export interface WantedRoute {
  readonly family: Family;
  readonly table: number;
  /** Next hop of the default route; null: a blackhole. */
  readonly gateway: string | null;
  /** Interface that leads to the next hop; null: not known, the kernel finds one. */
  readonly device: string | null;
  /** Whose route: for messages. */
  readonly label: string;
}

export interface ListedRoute {
  readonly family: Family;
  readonly table: number;
  readonly type: 'unicast' | 'blackhole' | 'other';
  /** Number of rtnetlink.h as text; undefined: RTPROT_BOOT, what ip gives by itself. */
  readonly protocol: string | undefined;
  readonly metric: number | undefined;
  /** It bears settings, such as a path MTU, that no route of ours has. */
  readonly hasSettings: boolean;
  /** null: a hop without an address, or with one of the other family. */
  readonly hops: readonly ListedHop[];
}

/** A route in one of our tables that is no default route. */
export interface NarrowRoute {
  readonly family: Family;
  readonly table: number;
  /** `20.0.0.0/24` */
  readonly destination: string;
}

export interface ListedHop {
  readonly gateway: string | null;
  readonly device: string | undefined;
  /** The kernel knows that nothing can be sent this way: its link is down. */
  readonly dead: boolean;
}

interface HopEntry {
  readonly gateway?: string;
  readonly dev?: string;
  readonly flags?: readonly string[];
}

/** One entry of `ip -N -j route show table all exact default`. */
interface RouteEntry extends HopEntry {
  readonly type?: string;
  readonly dst: string;
  readonly table?: string;
  readonly protocol?: string;
  readonly metric?: number;
  readonly metrics?: readonly object[];
  readonly nexthops?: readonly HopEntry[];
}

/** RTPROT_BIRD of linux/rtnetlink.h; RTPROT_STATIC is what versions before BIRD set. */
const BIRD_PROTOCOLS = new Set(['12', 'bird']);
const STATIC_PROTOCOLS = new Set(['4', 'static']);
/** Flags of a hop that takes no packets. */
const DEAD_FLAGS = ['linkdown', 'dead'];
/** RTN_BLACKHOLE of linux/rtnetlink.h, and its name. */
const BLACKHOLE_TYPES = new Set(['6', 'blackhole']);
const UNICAST_TYPES = new Set([undefined, '1', 'unicast']);

/**
 * Default routes outside the main table (which is listed without a number).
 * @param table  the one that was listed, if it was one: it is not repeated then
 */
export function parseRoutes(family: Family, entries: readonly RouteEntry[], table?: number): ListedRoute[] {
  return entries
    .filter(entry => entry.dst === 'default' && (entry.table ?? table) !== undefined)
    .map(entry => ({
      family,
      table: Number(entry.table ?? table),
      type: BLACKHOLE_TYPES.has(entry.type ?? '')
        ? 'blackhole'
        : UNICAST_TYPES.has(entry.type)
          ? 'unicast'
          : 'other',
      protocol: entry.protocol,
      metric: entry.metric,
      hasSettings: entry.metrics !== undefined,
      hops: (entry.nexthops ?? [entry]).map(hop => ({
        gateway: hop.gateway ?? null,
        device: hop.dev,
        dead: DEAD_FLAGS.some(flag => hop.flags?.includes(flag)),
      })),
    }));
}

/** @param entries of `ip -N -j route show table TABLE`, which does not repeat the table */
export function parseNarrow(family: Family, table: number, entries: readonly RouteEntry[]): NarrowRoute[] {
  return entries
    .filter(entry => entry.dst !== 'default')
    .map(({ dst }) => ({ family, table, destination: dst }));
}

/** @param entries of `ip -N -j route show table all` */
export function parseNarrowOf(
  family: Family,
  tables: ReadonlySet<number>,
  entries: readonly RouteEntry[],
): NarrowRoute[] {
  return entries
    .filter(entry => entry.dst !== 'default' && tables.has(Number(entry.table)))
    .map(({ dst, table }) => ({ family, table: Number(table), destination: dst }));
}

/** What follows `route replace` in a batch of ip. */
export function routeText({ table, gateway, device }: WantedRoute): string {
  if (gateway === null) return `blackhole default table ${table}`;
  const link = device === null ? '' : ` dev ${device}`;
  return `default via ${gateway}${link} table ${table}`;
}

/** What follows `route del` for a listed route of our shape. */
export function listedRouteText(route: ListedRoute): string {
  const attributes = route.table === EGRESS_TABLE ? ` proto ${route.protocol} metric ${GATEWAY_METRIC}` : '';
  return `default table ${route.table}${attributes}`;
}

/** What a route has that was added without a metric (IP6_RT_PRIO_USER of linux/ipv6_route.h). */
const OWN_METRIC: Readonly<Record<Family, number | undefined>> = { 4: undefined, 6: 1024 };

/**
 * True if this route stands where ours stands and bears nobody's name, or was made by BIRD: with a claim to its table, it
 * is ours, or took the place of ours and is replaced. The kernel knows routes of one destination apart by their metric
 * alone.
 */
export function isInOurPlace(route: ListedRoute): boolean {
  return route.table === EGRESS_TABLE
    ? isBirds(route) || isFormerEgress(route)
    : route.metric === OWN_METRIC[route.family] && route.protocol === undefined;
}

/** True if we or BIRD could have made this route: with a claim to its table, it is ours to remove. */
export function hasOurShape(route: ListedRoute): boolean {
  if (!isInOurPlace(route) || route.table === EGRESS_TABLE) return isInOurPlace(route);
  const type = route.table === BLACKHOLE_TABLE ? 'blackhole' : 'unicast';
  return route.type === type;
}

export function isBirds(route: ListedRoute): boolean {
  return route.metric === GATEWAY_METRIC && BIRD_PROTOCOLS.has(route.protocol ?? '');
}

/** True for what versions without BIRD set in table 4096. */
export function isFormerEgress(route: ListedRoute): boolean {
  return route.metric === GATEWAY_METRIC && STATIC_PROTOCOLS.has(route.protocol ?? '');
}

/** True if the listed route is the wanted one, also while its link is down. */
export function isRoute(listed: ListedRoute, wanted: WantedRoute): boolean {
  if (listed.family !== wanted.family || listed.table !== wanted.table) return false;
  if (!hasOurShape(listed) || listed.hasSettings) return false;
  if (wanted.gateway === null) return true;
  const [hop] = listed.hops;
  return (
    listed.hops.length === 1 &&
    hop!.gateway !== null &&
    addressNumber(hop!.gateway) === addressNumber(wanted.gateway) &&
    (wanted.device === null || hop!.device === wanted.device)
  );
}
