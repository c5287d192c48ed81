/** What the kernel shall hold for a configuration, in plain values: the input of this room. */
import type { Family, FragmentMode, Host, PortNat, Prefix } from '../types/config.js';
import type { MarkBlock, MarkRange } from './marks.js';

/** One target's rule and routes: `fwmark == table`. */
export interface WantedTarget {
  readonly fwmark: number;
  readonly nextHops: readonly Host[];
  /** For messages: `stream-a-i/44`. */
  readonly label: string;
}

/** The whole wanted state of nftables and policy routing. */
export interface WantedKernel {
  readonly vips: readonly Prefix[];
  readonly queues: { readonly first: number; readonly last: number };
  /** What leads packets into the queues where nftables cannot. */
  readonly queueMark: number;
  /** Bits of the packet's mark that are ours; the others belong to other programs. */
  readonly markMask: number;
  readonly interfaces: { readonly external: string | null; readonly internal: readonly string[] };
  /** Families that have gateways: BIRD fills their table 4096. */
  readonly egress: readonly Family[];
  /** Addresses of gateways whose neighbour entries tell whether they can be reached; default: none. */
  readonly gateways?: readonly Host[];
  readonly portNats: readonly PortNat[];
  readonly fragments: FragmentMode;
  /** In the order of the file. */
  readonly targets: readonly WantedTarget[];
  /** Marks that belong to the streams, whether a target has them or not: such packets never reach the main table. */
  readonly markRanges: readonly MarkRange[];
  /** Marks of packets without a flow or without a target, where the configuration gives them some. */
  readonly unmatchedMarks: readonly number[];
}

/** `queueMark`, and the bits that are ours. */
export function queueMarkOf({ queueMark, markMask }: WantedKernel): MarkBlock {
  return { value: queueMark, mask: markMask };
}

/** What keeps a target from being reached: it has no route, its link is down, or its neighbour does not answer. */
export type PendingCause = 'route' | 'link' | 'neighbour';

/** A target that cannot be reached now: it takes no traffic. */
export interface PendingTarget {
  readonly fwmark: number;
  readonly label: string;
  /** The first of what `reason` tells. */
  readonly cause: PendingCause;
  /** What was attempted and what the kernel answered, or what the kernel says of its way. */
  readonly reason: string;
  /** Its next hops that have no neighbour entry one could send by: who asks for them brings it back. */
  readonly unresolved: readonly NextHop[];
}

/** A neighbour, and the interface that it is behind. */
export interface NextHop extends Host {
  readonly device: string;
}
