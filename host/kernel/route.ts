/** A default route in one of our tables: the wanted one, its text, and the kernel's listing of default routes. */

import { addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';
import { BLACKHOLE_TABLE, EGRESS_TABLE } from '../types/marks.js';

/** As BIRD's routes have it in the reference. */
const GATEWAY_METRIC = 32;

export interface WantedRoute {
  readonly family: Family;
  readonly table: number;
  /** Gateways of the default route, equal shares; none: a blackhole. */
  readonly gateways: readonly string[];
  /** Interface of the gateways, or null: the kernel's choice. */
  readonly device: string | null;
  /** Whose route: for messages. */
  readonly label: string;
  /** Who waits for it if the kernel refuses: a target's mark, the gateways, or nobody (then it is an error). */
  readonly purpose: 'target' | 'gateway' | 'blackhole';
}

export interface ListedRoute {
  readonly family: Family;
  readonly table: number;
  readonly type: 'unicast' | 'blackhole' | 'other';
  /** Number of rtnetlink.h as text; undefined: RTPROT_BOOT, what ip gives by itself. */
  readonly protocol: string | undefined;
  readonly metric: number | undefined;
  /** null: a hop without an address, or with one of the other family. */
  readonly hops: readonly { readonly gateway: string | null; readonly device: string | undefined }[];
}

interface HopEntry {
  readonly gateway?: string;
  readonly dev?: string;
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

const STATIC_PROTOCOLS = new Set(['4', 'static']);
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
      hops: (entry.nexthops ?? [entry]).map(hop => ({ gateway: hop.gateway ?? null, device: hop.dev })),
    }));
}

/** What follows `route replace` in a batch of ip. */
export function routeText(route: WantedRoute): string {
  const table = `table ${route.table}`;
  if (route.gateways.length === 0) {
    return `blackhole default ${table}`;
  }
  const device = route.device === null ? '' : ` dev ${route.device}`;
  const attributes = route.purpose === 'gateway' ? ` proto static metric ${GATEWAY_METRIC}` : '';
  const hops = route.gateways.map(gateway => `via ${gateway}${device}`);
  return hops.length === 1
    ? `default ${hops[0]} ${table}${attributes}`
    : `default ${table}${attributes} ${hops.map(hop => `nexthop ${hop}`).join(' ')}`;
}

/** What follows `route del` for a listed route of our shape. */
export function listedRouteText(route: ListedRoute): string {
  const type = route.type === 'blackhole' ? 'blackhole ' : '';
  const attributes = route.table === EGRESS_TABLE ? ` proto static metric ${GATEWAY_METRIC}` : '';
  return `${type}default table ${route.table}${attributes}`;
}

/** True if we could have made this route: with a claim to its table, it is ours. */
export function hasOurShape(route: ListedRoute): boolean {
  switch (route.table) {
    case EGRESS_TABLE:
      return route.metric === GATEWAY_METRIC && STATIC_PROTOCOLS.has(route.protocol ?? '');
    case BLACKHOLE_TABLE:
      return route.type === 'blackhole' && route.protocol === undefined;
    default:
      return route.type === 'unicast' && route.protocol === undefined;
  }
}

/** True if the listed route is the wanted one. */
export function isRoute(listed: ListedRoute, wanted: WantedRoute): boolean {
  if (listed.family !== wanted.family || listed.table !== wanted.table || !hasOurShape(listed)) {
    return false;
  }
  if (wanted.gateways.length === 0) {
    return listed.type === 'blackhole';
  }
  const gateways = listed.hops.map(hop => (hop.gateway === null ? '' : String(addressNumber(hop.gateway))));
  const asked = wanted.gateways.map(gateway => String(addressNumber(gateway)));
  return (
    listed.type === 'unicast' &&
    gateways.sort().join() === asked.sort().join() &&
    (wanted.device === null || listed.hops.every(hop => hop.device === wanted.device))
  );
}
