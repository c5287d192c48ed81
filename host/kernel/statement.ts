/** What the tables' rules and sets are made of, in nftables' JSON form. */

import { createHash } from 'node:crypto';
import { ADDRESS_BITS, withoutCovered } from '../types/address.js';
import type { Family, Prefix } from '../types/config.js';
import type { Statement } from './carrier.js';
import type { MarkRange } from './marks.js';
import type { Element, NftRule, NftSet } from './nft-table.js';

export const COUNTER: Statement = { counter: { packets: 0, bytes: 0 } };
/** IANA's protocol numbers: nft takes the name of ICMPv6 from /etc/protocols, which a small image lacks. */
export const ICMP: Readonly<Record<Family, number>> = { 4: 1, 6: 58 };
export const NOTRACK: Statement = { notrack: null };
export const ACCEPT: Statement = { accept: null };
export const DROP: Statement = { drop: null };

export function compares(op: string, left: unknown, right: unknown): Statement {
  return { match: { op, left, right } };
}

export function equals(left: unknown, right: unknown): Statement {
  return compares('==', left, right);
}

/** Writes `value` into the packet's or its metadata's `key`; of checksums that cover it nft takes care. */
export function sets(key: unknown, value: unknown): Statement {
  return { mangle: { key, value } };
}

/** A field of a protocol's header, for example dport of tcp. */
export function headerField(protocol: string, field: string): object {
  return { payload: { protocol, field } };
}

export function addressOf(family: Family, field: 'saddr' | 'daddr'): object {
  return headerField(family === 4 ? 'ip' : 'ip6', field);
}

/** The set of those `prefixes` that are of `family`. */
export function addressSet(name: string, family: Family, prefixes: readonly Prefix[]): NftSet {
  return { name, type: `ipv${family}_addr`, elements: addressElements(family, prefixes) };
}

type Elements = Partial<Record<Family, readonly Element[]>>;

/** By the list of a configuration: three tables have the same sets, and each check renders them. */
const knownElements = new WeakMap<readonly Prefix[], Elements>();

function addressElements(family: Family, prefixes: readonly Prefix[]): readonly Element[] {
  const known = knownElements.get(prefixes);
  const before = known?.[family];
  if (before !== undefined) return before;
  const elements = withoutCovered(prefixes.filter(prefix => prefix.family === family)).map(
    ({ address, length }) =>
      length === ADDRESS_BITS[family] ? address : { prefix: { addr: address, len: length } },
  );
  knownElements.set(prefixes, { ...known, [family]: elements });
  return elements;
}

/** The set of the marks in `ranges`, which do not overlap. */
export function markSet(name: string, ranges: readonly MarkRange[]): NftSet {
  return { name, type: 'mark', elements: ranges.map(rangeElement) };
}

export function rangeElement({ first, last }: MarkRange): Element {
  return first === last ? first : { range: [first, last] };
}

/** A counter object of the table: a rule that is filled in again goes on with it. */
export function namedCounter(name: string): Statement {
  return { counter: name };
}

/** The ICMP errors, which carry the packet that they are about; those of ICMPv6 are all below 128 (RFC 4443, section 2.1). */
const ERRORS: Readonly<Record<Family, readonly string[]>> = {
  4: ['destination-unreachable', 'time-exceeded', 'parameter-problem'],
  6: ['destination-unreachable', 'packet-too-big', 'time-exceeded', 'parameter-problem'],
};

export function isError(family: Family): Statement {
  return equals(headerField(icmpOf(family), 'type'), { set: ERRORS[family] });
}

export function icmpOf(family: Family): 'icmp' | 'icmpv6' {
  return family === 4 ? 'icmp' : 'icmpv6';
}

/** Bits of the transport header and what follows it, with no regard to their meaning. */
export function transportBits(offset: number, len: number): object {
  return { payload: { base: 'th', offset, len } };
}

/** Bits of the network header, with no regard to their meaning: nft updates no checksum for a write to them. */
export function networkBits(offset: number, len: number): object {
  return { payload: { base: 'nh', offset, len } };
}

/** nft lists raw writes in other words than these: a digest of them tells whether a rule is this one. */
export function namedRule(name: string, statements: readonly Statement[]): NftRule {
  const digest = createHash('sha256').update(JSON.stringify(statements)).digest('hex').slice(0, 12);
  return { comment: `${name} ${digest}`, statements };
}
