/** Addresses and prefixes: text to canonical values. Parsing is ipaddr.js's; what it is too lenient about is refused here. */
import ipaddr from 'ipaddr.js';
import { addressNumber, type Interval, prefixInterval, withoutCovered } from '../types/address.js';
import type { Family, Host, Prefix } from '../types/config.js';
import { shown } from '../types/text.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Of an IPv4-mapped address, ::ffff:0:0/96 (RFC 4291, section 2.5.5.2). */
const MAPPED_BITS = 96;

/** The address in `text`, or a fault. Octal and hexadecimal IPv4 parts and zones are refused. */
function parseAddress(text: string): Address | string {
  // Asked of any other text, ipaddr.js makes an error and catches it: 20 us.
  if (!text.includes(':') && ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  const hexadecimal = withoutDottedTail(text);
  if (/[%.]/.test(hexadecimal) || !text.includes(':') || !ipaddr.IPv6.isValid(hexadecimal))
    return `${shown(text)} is not an IP address`;
  return ipaddr.IPv6.parse(hexadecimal);
}

/** `::1.2.3.4` as `::102:304` (RFC 4291, section 2.2): ipaddr.js takes the former for `::ffff:1.2.3.4`. */
function withoutDottedTail(text: string): string {
  const at = text.lastIndexOf(':') + 1;
  const tail = text.slice(at);
  if (!tail.includes('.') || !ipaddr.IPv4.isValidFourPartDecimal(tail)) return text;
  const [first, second, third, fourth] = ipaddr.IPv4.parse(tail).octets;
  const group = (high = 0, low = 0) => (high * 256 + low).toString(16);
  return `${text.slice(0, at)}${group(first, second)}:${group(third, fourth)}`;
}

function isMapped(address: Address): address is ipaddr.IPv6 {
  return address.kind() === 'ipv6' && (address as ipaddr.IPv6).isIPv4MappedAddress();
}

function family(address: Address): Family {
  return address.kind() === 'ipv4' ? 4 : 6;
}

function canonical(address: Address): string {
  return address.kind() === 'ipv4' ? address.toString() : (address as ipaddr.IPv6).toRFC5952String();
}

interface Known {
  readonly host: Host;
  /** As ipaddr.js names it. */
  readonly range: string;
}

/**
 * What was parsed already, by its text: ipaddr.js takes some 20 us for an address, each stands in several checks, and a
 * reload reads thousands of them again of which all but a few are the same.
 */
const known = new Map<string, Known>();
const MOST_KNOWN = 100_000;

function parseKnown(text: string): Known | string {
  const before = known.get(text);
  if (before !== undefined) return before;
  const address = parseAddress(text);
  if (typeof address === 'string') return address;
  if (isMapped(address)) return `${shown(text)} is IPv4-mapped: write ${address.toIPv4Address().toString()}`;
  const now = { host: { family: family(address), address: canonical(address) }, range: address.range() };
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(text, now);
  return now;
}

/** @returns the host address, or the fault as a string */
export function parseHost(text: string): Host | string {
  const address = parseKnown(text);
  return typeof address === 'string' ? address : address.host;
}

/** @returns a BGP identifier (RFC 6286: any 32 bits but 0) as a dotted quad, or the fault as a string */
export function parseRouterId(text: string): string | Host {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) || text === '0.0.0.0')
    return `${shown(text)} is no router id: write a dotted quad, not 0.0.0.0`;
  return { family: 4, address: text };
}

/** Addresses that no neighbour has, as ipaddr.js names their ranges. */
const NOBODY = ['unspecified', 'loopback', 'multicast', 'broadcast'];

/** @returns the address of a gateway, or the fault as a string */
export function parseGateway(text: string): Host | string {
  const address = parseKnown(text);
  if (typeof address === 'string') return address;
  const { host, range } = address;
  return NOBODY.includes(range) ? `${shown(text)} is no neighbour's address: it is ${range}` : host;
}

/** @returns the address of a target, or the fault as a string */
export function parseNextHop(text: string): Host | string {
  const host = parseGateway(text);
  if (typeof host === 'string' || host.family === 4) return host;
  // A link-local address means nothing without its interface, which the configuration does not name.
  const address = parseKnown(text);
  return typeof address !== 'string' && address.range === 'linkLocal'
    ? `${shown(text)} is link-local: which interface is not known`
    : host;
}

/**
 * An IPv4-mapped prefix is the IPv4 prefix of the same addresses; one that is shorter than 96 bits is IPv6, and holds all
 * of IPv4 if it covers ::ffff:0:0/96.
 * @returns the prefix with host bits cleared, or the fault as a string
 */
export function parsePrefix(text: string): Prefix | string {
  const [head = '', tail, more] = text.split('/');
  const address = parseAddress(head);
  if (typeof address === 'string') return address;
  const widest = address.kind() === 'ipv4' ? 32 : 128;
  if (tail === undefined) return `${shown(text)} has no prefix length: write ${shown(text)}/${widest}`;
  if (more !== undefined || !/^(0|[1-9][0-9]*)$/.test(tail) || Number(tail) > widest) {
    return `${shown(text)} has a wrong prefix length: 0 to ${widest} is possible`;
  }
  const length = Number(tail);
  const bytes = address.toByteArray().map((byte, index) => byte & maskByte(length, index));
  const network = ipaddr.fromByteArray(bytes);
  if (isMapped(network) && length >= MAPPED_BITS)
    return { family: 4, address: network.toIPv4Address().toString(), length: length - MAPPED_BITS };
  return { family: family(network), address: canonical(network), length };
}

function maskByte(length: number, index: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * index));
  return (0xff << (8 - bits)) & 0xff;
}

/** Whether `prefix` covers a host; made once for many hosts. */
export function coveredBy(prefix: Prefix): (host: Host) => boolean {
  const { first, last } = prefixInterval(prefix);
  return ({ family, address }) => {
    if (family !== prefix.family) return false;
    const number = addressNumber(address);
    return first <= number && number <= last;
  };
}

/** Whether one of `prefixes` holds the whole of a prefix; made once for many. */
export function heldByAny(prefixes: readonly Prefix[]): (prefix: Prefix) => boolean {
  const held: Record<Family, readonly Interval[]> = { 4: disjoint(4), 6: disjoint(6) };
  function disjoint(family: Family): Interval[] {
    return withoutCovered(prefixes.filter(prefix => prefix.family === family)).map(prefixInterval);
  }
  return prefix => {
    const intervals = held[prefix.family];
    const { first, last } = prefixInterval(prefix);
    let least = 0;
    for (let most = intervals.length; least < most; ) {
      const middle = (least + most) >> 1;
      if (intervals[middle]!.last < first) least = middle + 1;
      else most = middle;
    }
    const nearest = intervals[least];
    return nearest !== undefined && nearest.first <= first && last <= nearest.last;
  };
}

/** Whether `prefix` covers `host`. */
export function covers(prefix: Prefix, host: Host): boolean {
  return coveredBy(prefix)(host);
}

/** Whether `prefix` is IPv6 and holds the IPv4 addresses too, written as ::ffff:a.b.c.d. */
export function coversIpv4(prefix: Prefix): boolean {
  return covers(prefix, { family: 6, address: '::ffff:0:0' });
}

export function prefixText(prefix: Prefix): string {
  return `${prefix.address}/${prefix.length}`;
}
