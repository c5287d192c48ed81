/** A flow as nfqlb lists it. */
import { prefixText } from '../config/address.js';
import type { Flow, PortRange, Prefix } from '../types/config.js';
import type { FlowReply } from './api.js';

export interface Listed {
  /** Without the mark of a hidden one. */
  readonly name: string;
  /** The flow that finds UDP with SCTP inside, on the flow's encapsulation port. */
  readonly hidden: boolean;
  readonly userRef: string | null;
  readonly matchesCount: number;
}

export function flowReply(flow: Flow, { name, hidden, userRef, matchesCount }: Listed): FlowReply {
  return {
    name: `${hidden ? '#' : ''}${name}`,
    priority: flow.priority,
    protocols: hidden ? ['udp'] : flow.protocols,
    dests: flow.vips.map(mappedText),
    dports: hidden ? [`${flow.udpEncapPort}`] : flow.destinationPortRanges.map(rangeText),
    srcs: flow.sourceSubnets.map(mappedText),
    sports: hidden ? [] : flow.sourcePortRanges.map(rangeText),
    match: hidden ? [] : flow.byteMatches.map(match => match.text),
    udpencap: flow.udpEncapPort ?? 0,
    matchesCount,
    userRef,
  };
}

/** nfqlb lists every prefix among the 128 bits of IPv6. */
function mappedText(prefix: Prefix): string {
  return prefix.family === 4 ? `::ffff:${prefix.address}/${96 + prefix.length}` : prefixText(prefix);
}

function rangeText(range: PortRange): string {
  return range.first === range.last ? `${range.first}` : `${range.first}-${range.last}`;
}
