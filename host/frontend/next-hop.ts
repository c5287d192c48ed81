/**
 * What gateways with link-local addresses are sent as next hop of the VIPs. BIRD 2.0.12 sends `::` with `next hop self`, and
 * some routers refuse that: RFC 2545, section 3, wants a global address, with the link-local one beside it.
 */
import type { Gateway } from '../types/config.js';
import type { InterfaceAddress } from './router-id.js';

export function isLinkLocal6(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}

/** Addresses of gateways by BGP that need a next hop. */
export function linkLocalSessions(gateways: readonly Gateway[]): { gateway: string; address: string }[] {
  return gateways.flatMap(({ name, protocol, ips }) =>
    protocol === 'bgp'
      ? ips.filter(({ address }) => isLinkLocal6(address)).map(({ address }) => ({ gateway: name, address }))
      : [],
  );
}

/** @param former is taken again while the interface has it: another one is another route for the gateways */
export function nextHopOf(
  addresses: readonly InterfaceAddress[],
  external: string | null,
  former: string | null = null,
): string | null {
  const own = addresses
    .filter(({ name, family, address }) => name === external && family === 6 && !isLinkLocal6(address))
    .map(({ address }) => address);
  return former !== null && own.includes(former) ? former : (own[0] ?? null);
}

/** One line for each session over link-local addresses, where the interface has no global one. Without a name for it BIRD's file cannot be written, and that says so. */
export function noNextHop(gateways: readonly Gateway[], external: string | null): string[] {
  if (external === null) return [];
  return linkLocalSessions(gateways).map(
    ({ gateway, address }) =>
      `gateway ${gateway}: ${address} is link-local, and ${external} has no global IPv6 address that VIPs could be announced ` +
      'with: give it one, or use a global address of the gateway',
  );
}
