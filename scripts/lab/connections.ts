/** Which five-tuples the clients use. */
import type { Family } from '../../host/types/config.js';
import { CLIENTS, clientAddress, VIP } from './plan.js';
import type { Connection } from './syn.js';

/** `count` connections to the VIP, from every client address in turn, each from a port of its own. */
export function connections(
  family: Family,
  count: number,
  firstSourcePort: number,
  destinationPort: number,
): Connection[] {
  return Array.from({ length: count }, (_, index) => ({
    family,
    source: clientAddress(family, index % CLIENTS),
    sourcePort: firstSourcePort + index,
    destination: VIP[family],
    destinationPort,
  }));
}
