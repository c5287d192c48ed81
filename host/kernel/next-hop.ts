/** Why the kernel takes no route by a next hop: "Nexthop has invalid gateway" has several causes. */
import { listJson, type Run } from '../programs/command.js';
import { ADDRESS_BITS, addressNumber, prefixInterval } from '../types/address.js';
import type { Host } from '../types/config.js';

/** An interface as `ip -j addr show` lists it. */
interface InterfaceEntry {
  readonly ifname: string;
  readonly flags?: readonly string[];
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[];
}

export interface InterfaceNetwork extends Host {
  readonly name: string;
  readonly isUp: boolean;
  /** Bits of the prefix. */
  readonly length: number;
}

/** @throws KernelError */
export async function listInterfaceNetworks(run: Run): Promise<InterfaceNetwork[]> {
  return interfaceNetworks((await listJson(run, ['-j', 'addr', 'show'])) as InterfaceEntry[]);
}

export function interfaceNetworks(entries: readonly InterfaceEntry[]): InterfaceNetwork[] {
  return entries.flatMap(({ ifname: name, flags = [], addr_info = [] }) =>
    addr_info.flatMap(({ local: address, prefixlen }): InterfaceNetwork[] => {
      if (address === undefined) return [];
      const family = address.includes(':') ? 6 : 4;
      return [
        { name, isUp: flags.includes('UP'), family, address, length: prefixlen ?? ADDRESS_BITS[family] },
      ];
    }),
  );
}

export function isOwn(hop: Host, networks: readonly InterfaceNetwork[]): boolean {
  return ownNetwork(hop, networks) !== undefined;
}

function ownNetwork(hop: Host, networks: readonly InterfaceNetwork[]): InterfaceNetwork | undefined {
  const number = addressNumber(hop.address);
  return networks.find(({ family, address }) => family === hop.family && addressNumber(address) === number);
}

/** null: nothing about the interfaces speaks against a route by `hop`. */
export function nextHopFault(hop: Host, networks: readonly InterfaceNetwork[]): string | null {
  const number = addressNumber(hop.address);
  const ofFamily = networks.filter(({ family }) => family === hop.family);
  const own = ownNetwork(hop, networks);
  if (own !== undefined) return `${hop.address} is an address of this host itself, on ${own.name}`;
  const around = ofFamily.filter(network => {
    const { first, last } = prefixInterval(network);
    return first <= number && number <= last;
  });
  if (around.some(({ isUp }) => isUp)) return null;
  const none = `no interface that is up has an address in the network of ${hop.address}`;
  const [down] = around;
  return down === undefined ? none : `${none}: ${down.name} has one and is down`;
}
