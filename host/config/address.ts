/** Addresses and prefixes: text to canonical values. Parsing is ipaddr.js's; what it is too lenient about is refused here. */
import ipaddr from 'ipaddr.js';
import type { Family, Host, Prefix } from '../types/config.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** The address in `text`, or a fault. Octal and hexadecimal IPv4 parts, zones and IPv4-mapped IPv6 are refused. */
function parseAddress(text: string): Address | string {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  if (text.includes('%') || !text.includes(':') || !ipaddr.IPv6.isValid(text))
    return `${text} is not an IP address`;
  const address = ipaddr.IPv6.parse(text);
  if (address.isIPv4MappedAddress())
    return `${text} is IPv4-mapped: write ${address.toIPv4Address().toString()}`;
  return address;
}

function family(address: Address): Family {
  return address.kind() === 'ipv4' ? 4 : 6;
}

function canonical(address: Address): string {
  return address.kind() === 'ipv4' ? address.toString() : (address as ipaddr.IPv6).toRFC5952String();
}

/** @returns the host address, or the fault as a string */
export function parseHost(text: string): Host | string {
  const address = parseAddress(text);
  return typeof address === 'string' ? address : { family: family(address), address: canonical(address) };
}

/** @returns a BGP identifier (RFC 6286: any 32 bits but 0) as a dotted quad, or the fault as a string */
export function parseRouterId(text: string): string | Host {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) || text === '0.0.0.0')
    return `${text} is no router id: write a dotted quad, not 0.0.0.0`;
  return { family: 4, address: text };
}

/** Addresses that no neighbour has, as ipaddr.js names their ranges. */
const NOBODY = ['unspecified', 'loopback', 'multicast', 'broadcast'];

/** @returns the address of a gateway, or the fault as a string */
export function parseGateway(text: string): Host | string {
  const host = parseHost(text);
  if (typeof host === 'string') return host;
  const range = ipaddr.parse(host.address).range();
  return NOBODY.includes(range) ? `${text} is no neighbour's address: it is ${range}` : host;
}

/** @returns the address of a target, or the fault as a string */
export function parseNextHop(text: string): Host | string {
  const host = parseGateway(text);
  if (typeof host === 'string' || host.family === 4) return host;
  // A link-local address means nothing without its interface, which the configuration does not name.
  return ipaddr.parse(host.address).range() === 'linkLocal'
    ? `${text} is link-local: which interface is not known`
    : host;
}

/** @returns the prefix with host bits cleared, or the fault as a string */
export function parsePrefix(text: string): Prefix | string {
  const [head = '', tail, more] = text.split('/');
  const address = parseAddress(head);
  if (typeof address === 'string') return address;
  const widest = address.kind() === 'ipv4' ? 32 : 128;
  if (tail === undefined) return `${text} has no prefix length: write ${text}/${widest}`;
  if (more !== undefined || !/^(0|[1-9][0-9]*)$/.test(tail) || Number(tail) > widest) {
    return `${text} has a wrong prefix length: 0 to ${widest} is possible`;
  }
  const length = Number(tail);
  const bytes = address.toByteArray().map((byte, index) => byte & maskByte(length, index));
  return { family: family(address), address: canonical(ipaddr.fromByteArray(bytes)), length };
}

function maskByte(length: number, index: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * index));
  return (0xff << (8 - bits)) & 0xff;
}

/** Whether `prefix` covers `host`. */
export function covers(prefix: Prefix, host: Host): boolean {
  if (prefix.family !== host.family) return false;
  return ipaddr.parse(host.address).match(ipaddr.parse(prefix.address), prefix.length);
}

export function prefixText(prefix: Prefix): string {
  return `${prefix.address}/${prefix.length}`;
}
