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
  /** null: a hop without an address, or with one of the other family. */
  readonly hops: readonly ListedHop[];
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

/** Default routes outside the main table (which is listed without a number). */
export function parseRoutes(family: Family, entries: readonly RouteEntry[]): ListedRoute[] {
  return entries
    .filter(entry => entry.dst === 'default' && entry.table !== undefined)
    .map(entry => ({
      family,
      table: Number(entry.table),
      type: BLACKHOLE_TYPES.has(entry.type ?? '')
        ? 'blackhole'
        : UNICAST_TYPES.has(entry.type)
          ? 'unicast'
          : 'other',
      protocol: entry.protocol,
      metric: entry.metric,
      hops: (entry.nexthops ?? [entry]).map(hop => ({
        gateway: hop.gateway ?? null,
        device: hop.dev,
        dead: DEAD_FLAGS.some(flag => hop.flags?.includes(flag)),
      })),
    }));
}

/** What follows `route replace` in a batch of ip. */
export function routeText({ table, gateway }: WantedRoute): string {
  return gateway === null ? `blackhole default table ${table}` : `default via ${gateway} table ${table}`;
}

/** What follows `route del` for a listed route of our shape. */
export function listedRouteText(route: ListedRoute): string {
  const type = route.type === 'blackhole' ? 'blackhole ' : '';
  const attributes = route.table === EGRESS_TABLE ? ` proto ${route.protocol} metric ${GATEWAY_METRIC}` : '';
  return `${type}default table ${route.table}${attributes}`;
}

/** True if we or BIRD could have made this route: with a claim to its table, it is ours. */
export function hasOurShape(route: ListedRoute): boolean {
  switch (route.table) {
    case EGRESS_TABLE:
      return isBirds(route) || isFormerEgress(route);
    case BLACKHOLE_TABLE:
      return route.type === 'blackhole' && route.protocol === undefined;
    default:
      return route.type === 'unicast' && route.protocol === undefined;
  }
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
  if (listed.family !== wanted.family || listed.table !== wanted.table || !hasOurShape(listed)) {
    return false;
  }
  if (wanted.gateway === null) {
    return listed.type === 'blackhole';
  }
  const [hop] = listed.hops;
  return (
    listed.type === 'unicast' &&
    listed.hops.length === 1 &&
    hop!.gateway !== null &&
    addressNumber(hop!.gateway) === addressNumber(wanted.gateway)
  );
}
