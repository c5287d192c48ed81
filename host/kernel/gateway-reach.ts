/** Whether gateways answer on their link, as the kernel lists its neighbours. Pure. */
import type { Host } from '../types/config.js';
import { type NeighbourState, type Neighbours, neighbourKey } from './neighbour.js';
import type { OnLink } from './on-link.js';
import type { NextHop, WantedKernel } from './wanted.js';

export interface GatewayReach extends NextHop {
  /** `absent`: the kernel has no entry and has not asked. */
  readonly state: NeighbourState | 'absent';
}

/** Leaves out gateways whose interface is not known or does not exist: the kernel cannot ask for them. */
export function gatewayReach(
  { gateways = [], interfaces: { external } }: Pick<WantedKernel, 'gateways' | 'interfaces'>,
  onLink: Pick<OnLink, 'deviceOf'>,
  present: ReadonlySet<string>,
  neighbours: Neighbours,
): GatewayReach[] {
  const reach = (host: Host): GatewayReach[] => {
    const device = external ?? onLink.deviceOf(host);
    if (device === null || !present.has(device)) return [];
    const hop = { family: host.family, address: host.address, device };
    return [{ ...hop, state: neighbours.get(neighbourKey(hop)) ?? 'absent' }];
  };
  return gateways.flatMap(reach);
}
