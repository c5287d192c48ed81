/**
 * Routes of the kernel's table local that take packets to VIPs: the kernel asks that table before all rules of ours, so such
 * packets never reach a target, whatever their mark. Pure.
 */
import { ADDRESS_BITS, type Interval, prefixInterval, unitedIntervals } from '../types/address.js';
import type { Family, Prefix } from '../types/config.js';
import { KERNEL_TABLES } from '../types/marks.js';
import type { RuleListing } from './rule.js';

/** A route of table local that is no throw. */
export interface LocalRoute {
  /** Network and length: `20.0.0.1` is `20.0.0.1/32`. */
  readonly destination: Prefix;
  readonly type: string;
  readonly device: string | null;
  /** The kernel made it, for an address of an interface. */
  readonly isKernels: boolean;
}

/** A VIP to which packets do not reach any target, or a part of it. */
export interface LostVip {
  readonly vip: Prefix;
  /** No address of the VIP can receive traffic. */
  readonly whole: boolean;
  /** `20.0.0.1 is an address of lo` */
  readonly reason: string;
  /** What an operator does about it. */
  readonly remedy: string;
}

/** One entry of `ip -N -j route show table local`. */
interface RouteEntry {
  readonly type?: string;
  readonly dst: string;
  readonly dev?: string;
  readonly protocol?: string;
}

/** RTN_* of linux/rtnetlink.h, as -N prints them. */
const TYPES: Readonly<Record<string, string>> = {
  '1': 'unicast',
  '2': 'local',
  '3': 'broadcast',
  '4': 'anycast',
  '5': 'multicast',
  '6': 'blackhole',
  '7': 'unreachable',
  '8': 'prohibit',
  '9': 'throw',
};
/** RTPROT_KERNEL of linux/rtnetlink.h, and its name. */
const KERNEL_PROTOCOLS = new Set(['2', 'kernel']);

export function parseLocalRoutes(family: Family, entries: readonly RouteEntry[]): LocalRoute[] {
  return entries.flatMap(({ type = '1', dst, dev, protocol }) => {
    const name = TYPES[type] ?? type;
    // The kernel goes on to the next rule.
    if (name === 'throw') return [];
    const [address = '', length] = (dst === 'default' ? ANY[family] : dst).split('/');
    const destination = { family, address, length: Number(length ?? ADDRESS_BITS[family]) };
    return [
      { destination, type: name, device: dev ?? null, isKernels: KERNEL_PROTOCOLS.has(protocol ?? '') },
    ];
  });
}

const ANY: Readonly<Record<Family, string>> = { 4: '0.0.0.0/0', 6: '::/0' };

/**
 * @param lastPriority of the rules that lead marks to their targets: a table that is asked after all of them takes nothing
 * @returns each VIP of which `routes` take a part, once for each route
 */
export function lostVips(
  vips: readonly Prefix[],
  routes: readonly LocalRoute[],
  rules: readonly RuleListing[],
  lastPriority: number,
): LostVip[] {
  const isAsked = (family: Family): boolean =>
    rules.some(({ all }) =>
      all.some(
        rule => rule.family === family && rule.table === KERNEL_TABLES.last && rule.priority <= lastPriority,
      ),
    );
  const asked = ([4, 6] as const).filter(isAsked);
  const united = vipIntervals(vips);
  // Few or none: not every route is compared with every VIP.
  const taking = routes.filter(({ destination }) => {
    const { family } = destination;
    return asked.includes(family) && meetsAny(united[family], prefixInterval(destination));
  });
  return taking.flatMap(route => {
    const { first, last } = prefixInterval(route.destination);
    return vips
      .filter(vip => vip.family === route.destination.family)
      .map(vip => ({ vip, interval: prefixInterval(vip) }))
      .filter(({ interval }) => interval.first <= last && first <= interval.last)
      .map(({ vip, interval }) => ({
        vip,
        whole: first <= interval.first && interval.last <= last,
        reason: reasonText(route),
        remedy: remedyText(route),
      }));
  });
}

type VipIntervals = Readonly<Record<Family, readonly Interval[]>>;

/** Of one configuration: each look asks for them. */
const known = new WeakMap<readonly Prefix[], VipIntervals>();

function vipIntervals(vips: readonly Prefix[]): VipIntervals {
  const before = known.get(vips);
  if (before !== undefined) return before;
  const of = (family: Family) =>
    unitedIntervals(vips.filter(vip => vip.family === family).map(prefixInterval));
  const intervals = { 4: of(4), 6: of(6) };
  known.set(vips, intervals);
  return intervals;
}

/** @param intervals ascending and disjoint */
function meetsAny(intervals: readonly Interval[], { first, last }: Interval): boolean {
  let least = 0;
  for (let most = intervals.length; least < most; ) {
    const middle = (least + most) >> 1;
    if (intervals[middle]!.last < first) least = middle + 1;
    else most = middle;
  }
  const nearest = intervals[least];
  return nearest !== undefined && nearest.first <= last;
}

/** What a warning says of a VIP. */
export function lostVipText({ vip, whole, reason, remedy }: LostVip): string {
  const text = `${vip.address}/${vip.length}`;
  return whole
    ? `VIP ${text} receives no traffic and is withdrawn: ${reason}, so its packets reach no target: ${remedy}`
    : `VIP ${text} receives no traffic for some of its addresses: ${reason}, so their packets reach no target: ${remedy}`;
}

/** Why packets that a route takes reach no target, of a route of table local. */
function reasonText({ destination, type, device, isKernels }: LocalRoute): string {
  const isHost = destination.length === ADDRESS_BITS[destination.family];
  if (isKernels && type === 'local' && isHost) return `${destination.address} is an address of ${device}`;
  if (isKernels && device !== null)
    return `${type} ${prefixText(destination)} belongs to an address of ${device}`;
  return `table local has the route ${routeText({ destination, type, device, isKernels })}`;
}

/** What becomes of a packet that a route takes. */
export function takenText(route: LocalRoute): string {
  if (['blackhole', 'unreachable', 'prohibit'].includes(route.type)) return `dropped: ${reasonText(route)}`;
  if (route.type === 'unicast') return `sent past the targets: ${reasonText(route)}`;
  return `delivered to this host itself: ${reasonText(route)}`;
}

function remedyText(route: LocalRoute): string {
  const { destination, device, isKernels } = route;
  if (isKernels && device !== null)
    return `remove that address (ip -${destination.family} address show dev ${device})`;
  return `remove it (ip -${destination.family} route del ${routeText(route)} table local)`;
}

function routeText({ destination, type, device }: LocalRoute): string {
  return `${type} ${prefixText(destination)}${device === null ? '' : ` dev ${device}`}`;
}

function prefixText({ family, address, length }: Prefix): string {
  return length === ADDRESS_BITS[family] ? address : `${address}/${length}`;
}
