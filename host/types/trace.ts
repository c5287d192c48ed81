/** What is seen of packets: the flows that select them, and one decided packet. */
import type { Flow } from './config.js';

/** A named condition; packets are matched by their own key, those inside ICMP errors swapped. Empty arrays match all. */
export interface TraceFlow
  extends Pick<
    Flow,
    'protocols' | 'vips' | 'sourceSubnets' | 'destinationPortRanges' | 'sourcePortRanges' | 'byteMatches'
  > {
  readonly name: string;
}

/** One packet, the key that decided, and the decision. Names are those of the configuration that decided it. */
export interface TracedPacket {
  readonly queue: number;
  /** Number among the packets of its queue that some reader wanted, modulo 2^32. */
  readonly sequence: number;
  /** When its batch was decided: microseconds since 1970. */
  readonly timeUs: number;
  readonly flow: string | null;
  readonly stream: string | null;
  /** The target; null where none was chosen. */
  readonly identifier: number | null;
  /** null: the packet is dropped. */
  readonly fwmark: number | null;
  readonly reason: string;
  /** null unless a flow matched. */
  readonly hash: number | null;
  /** `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or a number. */
  readonly protocol: string;
  readonly source: string;
  /** 0: none. */
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** The packet is an ICMP error; protocol, addresses and ports are those of the packet inside, swapped. */
  readonly inner: boolean;
  /**
   * null: whole. A later fragment was decided as its first, whose ports are told; a held one waits for its first, has no
   * verdict yet, and is not told of again.
   */
  readonly fragment: 'first' | 'later' | 'held' | null;
  /** Bytes on the wire. */
  readonly length: number;
  /** The first of the reader's trace flows that matched; null: it has none. */
  readonly traceFlow: string | null;
}

/** With its first bytes, as many as the reader asked for. */
export interface CapturedTrace extends TracedPacket {
  readonly packet: Uint8Array;
}
