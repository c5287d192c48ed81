/** The BGP identifier of a host that was given none. */
import { addressNumber } from '../types/address.js';
import type { Host } from '../types/config.js';

/** One address of an interface of this host. */
export interface InterfaceAddress extends Host {
  /** Of the interface. */
  readonly name: string;
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * The first IPv4 address of the external interface, else another global IPv4 address, else 32 bits hashed from an IPv6
 * address: BIRD derives none on an IPv6-only host. RFC 6286 asks for any 32 bits but 0 that are unique within the AS.
 */
export function deriveRouterId(addresses: readonly InterfaceAddress[], external: string | null): string {
  const own = addresses.filter(({ name }) => name === external);
  const ipv4 = (list: readonly InterfaceAddress[]) => list.filter(({ family }) => family === 4);
  const [first] = [...ipv4(own), ...ipv4(addresses).filter(({ address }) => isGlobal4(address))];
  if (first !== undefined && addressNumber(first.address) !== 0n) return first.address;
  const ipv6 = [...own, ...addresses].filter(({ family, address }) => family === 6 && address !== '::1');
  // A link-local address is unique on its link alone.
  const source = ipv6.find(({ address }) => !/^fe[89ab]/i.test(address)) ?? ipv6[0];
  return dottedQuad(source === undefined ? 1 : hash(addressNumber(source.address)) || 1);
}

/** Neither loopback nor link-local. */
function isGlobal4(address: string): boolean {
  return !/^(0|127|169\.254)\./.test(address);
}

/** FNV-1a over the 16 bytes of an IPv6 address. */
function hash(address: bigint): number {
  let sum = FNV_OFFSET;
  for (let shift = 120n; shift >= 0n; shift -= 8n) {
    sum = Math.imul(sum ^ Number((address >> shift) & 0xffn), FNV_PRIME) >>> 0;
  }
  return sum;
}

function dottedQuad(bits: number): string {
  return [24, 16, 8, 0].map(shift => (bits >>> shift) & 0xff).join('.');
}
