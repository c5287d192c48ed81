/** Which interface leads to a neighbour: main's routes that have no next hop themselves. Pure. */
import { ADDRESS_BITS, addressNumber, prefixInterval } from '../types/address.js';
import type { Family, Host, Prefix } from '../types/config.js';

/** A route of main, as far as it tells who is on-link. */
export interface LinkRoute extends Prefix {
  /** Interface that one can send into without a router; null: there is one. */
  readonly device: string | null;
  /** The kernel made it for an address of the interface. */
  readonly isSubnet: boolean;
}

/** One entry of `ip -N -j route show table main`. */
interface RouteEntry {
  readonly dst: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly via?: object;
  readonly nexthops?: readonly object[];
  readonly type?: string;
}

/**
 * Link-local networks, multicast and default routes aside: they tell nothing of a neighbour.
 * @param byKernel  whether the kernel made them: a listing that was asked for that does not repeat it
 */
export function parseLinkRoutes(
  family: Family,
  entries: readonly RouteEntry[],
  byKernel: boolean,
): LinkRoute[] {
  return entries
    .filter(({ dst }) => dst !== 'default' && !dst.startsWith('fe80:') && !dst.startsWith('ff'))
    .map(({ dst, dev, gateway, via, nexthops, type }) => {
      const [address = '', length] = dst.split('/');
      const isDirect =
        gateway === undefined && via === undefined && nexthops === undefined && type === undefined;
      return {
        family,
        address,
        length: length === undefined ? ADDRESS_BITS[family] : Number(length),
        device: isDirect ? (dev ?? null) : null,
        isSubnet: byKernel && length !== undefined,
      };
    });
}

/** Longest prefix first, as the kernel looks them up. */
export class OnLink {
  private readonly networks: readonly {
    readonly family: Family;
    readonly first: bigint;
    readonly last: bigint;
    readonly devices: ReadonlySet<string | null>;
  }[];

  constructor(routes: readonly LinkRoute[]) {
    const devices = new Map<string, Set<string | null>>();
    for (const route of routes)
      devices.set(keyOf(route), (devices.get(keyOf(route)) ?? new Set()).add(route.device));
    this.networks = [...new Map(routes.map(route => [keyOf(route), route]))]
      .sort(([, one], [, other]) => other.length - one.length)
      .map(([key, route]) => ({
        family: route.family,
        devices: devices.get(key)!,
        ...prefixInterval(route),
      }));
  }

  /** null: none leads there without a router, or several do, of which the kernel chooses. */
  deviceOf({ family, address }: Host): string | null {
    const number = addressNumber(address);
    const network = this.networks.find(
      network => network.family === family && network.first <= number && number <= network.last,
    );
    return network?.devices.size === 1 ? [...network.devices][0]! : null;
  }
}

function keyOf({ family, address, length }: Prefix): string {
  return `${family} ${addressNumber(address)}/${length}`;
}
