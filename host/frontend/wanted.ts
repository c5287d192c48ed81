/**
 * What BIRD shall do. Contract of this room (host/frontend): it knows gateways, VIPs and BIRD; no queue, no rule, no
 * target. BIRD brings the gateways' default routes into EGRESS_TABLE and announces the VIPs that it is told to announce;
 * whether one is to be announced is decided elsewhere.
 */
import type { Family, Gateway, Prefix } from '../types/config.js';

export interface WantedFrontend {
  /** BGP identifier as a dotted quad. */
  readonly routerId: string;
  /** Interface towards the gateways; null: the one that their addresses are on. */
  readonly external: string | null;
  /** In the order of the file; none: no BIRD. */
  readonly gateways: readonly Gateway[];
  /** Over all gateways that are up; false: over the first of them. */
  readonly ecmp: boolean;
  /** VIPs that are announced now, to the gateways by BGP of the same family. */
  readonly announced: readonly Prefix[];
  /**
   * Why gateways cannot be reached, by address. A static one has no route then; of the others BIRD judges, and this is
   * the reason while they are down.
   */
  readonly unreachable: ReadonlyMap<string, string>;
  /**
   * Global IPv6 address of the external interface: the next hop that gateways with link-local addresses are sent. null:
   * there is none, and no VIP is announced to those, since BIRD would send `::`.
   */
  readonly nextHop6: string | null;
}

/** Where BIRD puts the default route of each family. */
export const FAMILIES = [4, 6] as const satisfies readonly Family[];
export const DEFAULT_ROUTE: Readonly<Record<Family, string>> = { 4: '0.0.0.0/0', 6: '::/0' };

/** What the room tells; a pino logger is one. */
export interface FrontendLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Name of the BIRD protocol of a gateway's address: it stays when other gateways come and go, so sessions do. */
export function protocolName(address: string): string {
  return `gateway-${address}`;
}
