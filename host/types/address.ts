/**
 * Addresses as numbers, prefixes and ports as intervals: the kernel's tools and a configuration may spell one address
 * differently, and what overlaps is merged before it is compared.
 */
import type { Family, PortRange, Prefix } from './config.js';

/** Addresses, both ends included. */
export interface Interval {
  readonly first: bigint;
  readonly last: bigint;
}

export const ADDRESS_BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

/** Numbers by their texts: each look at the kernel lists the same thousands of addresses, several times each. */
const numbers = new Map<string, bigint>();
const MOST_NUMBERS = 100_000;

/** The number of a valid address; text with a colon is IPv6. */
export function addressNumber(address: string): bigint {
  const before = numbers.get(address);
  if (before !== undefined) return before;
  const number = address.includes(':') ? ipv6Number(address) : ipv4Number(address);
  if (numbers.size >= MOST_NUMBERS) numbers.clear();
  numbers.set(address, number);
  return number;
}

/**
 * A valid address as the key of a Map or a Set, the same for each of its spellings. It is no bigint: V8 hashes the low 64 bits of
 * one alone, so addresses with the same interface identifier in many networks would all be in one chain.
 */
export function addressKey(address: string): string {
  return `${address.includes(':') ? 6 : 4}/${addressNumber(address).toString(32)}`;
}

function ipv4Number(address: string): bigint {
  return address.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function ipv6Number(address: string): bigint {
  const [head = '', tail] = address.split('::');
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const zeros = new Array<bigint>(8 - front.length - back.length).fill(0n);
  return [...front, ...zeros, ...back].reduce((sum, group) => sum * 65536n + group, 0n);
}

/** 16-bit groups; a dotted tail (RFC 4291, section 2.2) makes two. */
function groups(text: string): bigint[] {
  if (text === '') {
    return [];
  }
  return text.split(':').flatMap(group => {
    if (!group.includes('.')) {
      return [BigInt(`0x${group}`)];
    }
    const dotted = ipv4Number(group);
    return [dotted >> 16n, dotted & 0xffffn];
  });
}

/** Text of an address of 16 bytes in network order, IPv4 as ::ffff:a.b.c.d: canonical (RFC 5952 for IPv6). */
export function addressText(bytes: Uint8Array): string {
  const mapped = bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every(byte => byte === 0);
  if (mapped) return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!);
  const zeros = longestZeros(groups);
  const text = (part: readonly number[]) => part.map(group => group.toString(16)).join(':');
  if (zeros.length < 2) return text(groups);
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`;
}

function longestZeros(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let longest = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > longest.length) longest = { start, length: end - start };
  }
  return longest;
}

export function prefixInterval(prefix: Prefix): Interval {
  const hostBits = BigInt(ADDRESS_BITS[prefix.family] - prefix.length);
  const first = (addressNumber(prefix.address) >> hostBits) << hostBits;
  return { first, last: first + (1n << hostBits) - 1n };
}

/**
 * The fewest of `prefixes` (of one family) that cover the same addresses, ascending. Two prefixes either are disjoint or
 * one holds the other; the kernel refuses an interval set in which elements overlap.
 */
export function withoutCovered(prefixes: readonly Prefix[]): Prefix[] {
  const sorted = prefixes
    .map(prefix => ({ prefix, ...prefixInterval(prefix) }))
    .sort((a, b) => compare(a.first, b.first) || a.prefix.length - b.prefix.length);
  const kept: Prefix[] = [];
  let last = -1n;
  for (const entry of sorted) {
    if (entry.last > last) {
      kept.push(entry.prefix);
      last = entry.last;
    }
  }
  return kept;
}

/** Ascending intervals in which neighbours that touch are one: equal sets of addresses give equal lists. */
export function unitedIntervals(intervals: readonly Interval[]): Interval[] {
  const united: Interval[] = [];
  for (const interval of [...intervals].sort((a, b) => compare(a.first, b.first))) {
    const before = united.at(-1);
    if (before !== undefined && interval.first <= before.last + 1n) {
      if (interval.last > before.last) {
        united[united.length - 1] = { first: before.first, last: interval.last };
      }
    } else {
      united.push(interval);
    }
  }
  return united;
}

/** Ascending ports in which ranges that meet or touch are one. */
export function unitedRanges(ranges: readonly PortRange[]): PortRange[] {
  const intervals = ranges.map(({ first, last }) => ({ first: BigInt(first), last: BigInt(last) }));
  return unitedIntervals(intervals).map(({ first, last }) => ({ first: Number(first), last: Number(last) }));
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
