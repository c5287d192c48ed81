/** Prefixes on the one line of 128-bit numbers on which the core compares addresses: IPv4 as ::ffff:a.b.c.d. */
import { addressNumber } from '../types/address.js';
import type { Prefix } from '../types/config.js';

export const BITS = 128;
/** The IPv4 addresses: ::ffff:0:0/96. */
export const MAPPED_FIRST = 0xffff_0000_0000n;
export const MAPPED_LAST = 0xffff_ffff_ffffn;
export const LINE_LAST = (1n << 128n) - 1n;
export const LOW_HALF = (1n << 64n) - 1n;

export interface Network {
  /** Host bits are 0. */
  readonly first: bigint;
  readonly last: bigint;
  /** 0..128; an IPv4 prefix has 96 more than in its text. */
  readonly length: number;
}

/** Every address. */
export const ANY: Network = { first: 0n, last: LINE_LAST, length: 0 };

/** The fewest networks that hold the same addresses, ascending; also where one family's prefix holds the other's. */
export function networksOf(prefixes: readonly Prefix[]): Network[] {
  const networks = prefixes.map(networkOf);
  if (networks.length < 2) return networks;
  let last = -1n;
  return networks.sort(byPlace).filter(network => {
    if (network.last <= last) return false;
    last = network.last;
    return true;
  });
}

/**
 * A number on the line, as the key of a Map: V8 hashes the low 64 bits of a bigint alone, which are 0 in most networks of
 * IPv6, and numbers and texts whole.
 */
export function placeKey(place: bigint): number | string {
  return place <= MAPPED_LAST ? Number(place) : place.toString(32);
}

/** Ascending, and what holds another before it. */
export function byPlace(one: Network, other: Network): number {
  if (one.first !== other.first) return one.first < other.first ? -1 : 1;
  return one.length - other.length;
}

function networkOf({ family, address, length }: Prefix): Network {
  const number = family === 4 ? MAPPED_FIRST | addressNumber(address) : addressNumber(address);
  const bits = family === 4 ? length + 96 : length;
  const hosts = (1n << BigInt(BITS - bits)) - 1n;
  const last = number | hosts;
  return { first: last ^ hosts, last, length: bits };
}
