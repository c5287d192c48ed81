/** Addresses as the core compares them: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
import { addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';

const MAPPED = 0xffff_0000_0000n;

/** The 16 bytes of a valid address. */
export function addressBytes({
  family,
  address,
}: {
  readonly family: Family;
  readonly address: string;
}): Uint8Array {
  const number = family === 4 ? MAPPED | addressNumber(address) : addressNumber(address);
  return Uint8Array.from({ length: 16 }, (_, index) => Number((number >> BigInt(8 * (15 - index))) & 0xffn));
}
