/** What a packet is told by. It imports nothing but the plain types. */
import type { Family, Protocol } from './config.js';

export interface FiveTuple {
  readonly family: Family;
  /** `icmp`: an echo request, of ICMPv6 in IPv6; its ports are 0. */
  readonly protocol: Protocol | 'icmp';
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}
