/** A flow as the classifier files it: the parts of each field that it takes, as few and as plain as can be. */
import { unitedRanges } from '../types/address.js';
import type { PortRange, Protocol } from '../types/config.js';
import type { ListedFlow } from './flow-records.js';
import type { Core } from './wasm.js';

export interface FlowBox {
  /** Index in the image: the smaller, the better. */
  readonly flow: number;
  /** Bit by KindOf. */
  readonly kinds: number;
  /** Networks, the fewest, ascending. An empty list takes all, here and below. */
  readonly destinations: Uint32Array;
  readonly sources: Uint32Array;
  readonly destinationPorts: readonly PortRange[];
  readonly sourcePorts: readonly PortRange[];
  readonly byteMatches: boolean;
}

export function boxOf(
  core: Core,
  { conditions, encapPort, destinations, sources }: ListedFlow,
  flow: number,
): FlowBox {
  const { KindOf } = core;
  const kindOf: Record<Protocol, number> = { tcp: KindOf.Tcp, udp: KindOf.Udp, sctp: KindOf.Sctp };
  const all = [KindOf.Tcp, KindOf.Udp, KindOf.Sctp, KindOf.Other];
  const kinds =
    conditions.protocols.length === 0 ? all : conditions.protocols.map(protocol => kindOf[protocol]);
  // A hidden flow takes no part in ping, any other takes part in it whatever its protocols.
  const withPing = encapPort === 0 ? [...kinds, KindOf.Ping] : kinds;
  return {
    flow,
    kinds: withPing.reduce((bits, kind) => bits | (1 << kind), 0),
    destinations,
    sources,
    destinationPorts: merged(conditions.destinationPortRanges),
    sourcePorts: merged(conditions.sourcePortRanges),
    byteMatches: conditions.byteMatches.length > 0,
  };
}

function merged(ranges: readonly PortRange[]): readonly PortRange[] {
  return ranges.length < 2 ? ranges : unitedRanges(ranges);
}
