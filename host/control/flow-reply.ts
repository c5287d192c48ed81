/** A flow as it is listed: in our own terms and in nfqlb's. */
import { prefixText } from '../config/address.js';
import { normalByteMatchText } from '../config/byte-match.js';
import type { ByteMatch, Flow, PortRange, Prefix } from '../types/config.js';
import type { FlowConditionsReply, FlowReply, NfqlbFlowReply } from './api.js';

/** As the configuration writes it. @param hidden the flow that finds UDP with SCTP inside, on the flow's encapsulation port */
export function flowReply(flow: Flow, hidden: boolean, matchesCount: number): FlowReply {
  return {
    name: listedName(flow.name, hidden),
    stream: flow.stream,
    ...conditionsOf(flow, hidden, prefixText, match => match.text),
    matchesCount,
  };
}

export interface NfqlbListed {
  /** Without the mark of a hidden one. */
  readonly name: string;
  readonly hidden: boolean;
  readonly userRef: string | null;
  readonly matchesCount: number;
}

export function nfqlbFlowReply(flow: Flow, { name, hidden, ...rest }: NfqlbListed): NfqlbFlowReply {
  return {
    name: listedName(name, hidden),
    ...conditionsOf(flow, hidden, mappedText, normalByteMatchText),
    ...rest,
  };
}

function listedName(name: string, hidden: boolean): string {
  return `${hidden ? '#' : ''}${name}`;
}

function conditionsOf(
  flow: Flow,
  hidden: boolean,
  prefix: (prefix: Prefix) => string,
  match: (match: ByteMatch) => string,
): FlowConditionsReply {
  return {
    priority: flow.priority,
    protocols: hidden ? ['udp'] : flow.protocols,
    dests: flow.vips.map(prefix),
    dports: hidden ? [`${flow.udpEncapPort}`] : flow.destinationPortRanges.map(rangeText),
    srcs: flow.sourceSubnets.map(prefix),
    sports: hidden ? [] : flow.sourcePortRanges.map(rangeText),
    match: hidden ? [] : flow.byteMatches.map(match),
    udpencap: flow.udpEncapPort ?? 0,
  };
}

/** nfqlb lists every prefix among the 128 bits of IPv6. */
function mappedText(prefix: Prefix): string {
  return prefix.family === 4 ? `::ffff:${prefix.address}/${96 + prefix.length}` : prefixText(prefix);
}

function rangeText(range: PortRange): string {
  return range.first === range.last ? `${range.first}` : `${range.first}-${range.last}`;
}
