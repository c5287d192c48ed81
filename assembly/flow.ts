/**
 * What a flow asks of a packet, condition by condition, and the linear walk: the reference for `firstMatch`
 * (assembly/classifier.ts), and what decides where there are too few flows for anything else.
 */
import { ByteMatchRecord, CidrRecord, FlowRecord, ImageHeader, IpProtocol, NONE, Parsed, Protocols, RangeRecord } from './layout';
import { reach } from './packet';
import { Reason } from './reason';

/** `firstMatch` by trying every flow in its turn. */
export function linearMatch(header: ImageHeader, parsed: Parsed): u32 {
  const byAddress = isPing(header, parsed);
  let at = <usize>header.flows;
  for (let index: u32 = 0; index < header.flowCount; index++, at += offsetof<FlowRecord>()) {
    const flow = changetype<FlowRecord>(at);
    if (byAddress ? flow.encapPort != 0 : !matchesTransport(flow, parsed)) continue;
    if (!inCidrs(flow.destinations, flow.destinationCount, parsed.destination0, parsed.destination1)) continue;
    if (!inCidrs(flow.sources, flow.sourceCount, parsed.source0, parsed.source1)) continue;
    // Last, so that nothing but its bytes keeps a flow from being known.
    if (flow.byteMatchCount != 0 && !byAddress) {
      if (!matchesBytes(flow, parsed)) continue;
      if (parsed.unread != Reason.Ok) return NONE;
    }
    return index;
  }
  return NONE;
}

/** The addresses alone match, as with nfqlb. */
@inline
export function isPing(header: ImageHeader, parsed: Parsed): bool {
  return header.promiscuousPing != 0 && parsed.ping != 0;
}

@inline
function matchesTransport(flow: FlowRecord, parsed: Parsed): bool {
  if (flow.protocols != 0 && (flow.protocols & protocolBit(parsed.protocol)) == 0) return false;
  if (!inRanges(flow.destinationPorts, flow.destinationPortCount, parsed.destinationPort)) return false;
  return inRanges(flow.sourcePorts, flow.sourcePortCount, parsed.sourcePort);
}

@inline
function protocolBit(protocol: u32): u32 {
  if (protocol == IpProtocol.Tcp) return Protocols.Tcp;
  if (protocol == IpProtocol.Udp) return Protocols.Udp;
  if (protocol == IpProtocol.Sctp) return Protocols.Sctp;
  return 0;
}

@inline
export function inCidrs(records: u32, count: u32, address0: u64, address1: u64): bool {
  if (count == 0) return true;
  let at = <usize>records;
  const end = at + <usize>count * offsetof<CidrRecord>();
  for (; at < end; at += offsetof<CidrRecord>()) {
    const cidr = changetype<CidrRecord>(at);
    if ((address0 & cidr.mask0) == cidr.address0 && (address1 & cidr.mask1) == cidr.address1) return true;
  }
  return false;
}

/** @param port network order; 0 where the protocol has none, which is in no range */
@inline
export function inRanges(records: u32, count: u32, port: u16): bool {
  if (count == 0) return true;
  const value = bswap<u16>(port);
  let at = <usize>records;
  const end = at + <usize>count * offsetof<RangeRecord>();
  for (; at < end; at += offsetof<RangeRecord>()) {
    const range = changetype<RangeRecord>(at);
    if (value >= range.first && value <= range.last) return true;
  }
  return false;
}

/**
 * All statements about the packet's own protocol must hold, and there are none about an ICMP error: what it carries went the
 * other way, and a client's flags say nothing about it. One about bytes that the packet has not does not hold. One
 * about bytes that are on the wire and not here leaves its reason in `parsed.unread`, unless another does not hold.
 */
export function matchesBytes(flow: FlowRecord, parsed: Parsed): bool {
  if (parsed.inner != 0) {
    parsed.unread = Reason.Ok;
    return true;
  }
  // Its parse ended before there was one; only a trace asks about such a packet.
  if (parsed.transport == 0) return false;
  let unread = Reason.Ok;
  for (let index: u32 = 0; index < flow.byteMatchCount; index++) {
    const match = changetype<ByteMatchRecord>(<usize>flow.byteMatches + <usize>index * offsetof<ByteMatchRecord>());
    if (match.protocol != parsed.protocol) continue;
    const at = parsed.transport + match.offset;
    if (at + match.width > parsed.wireEnd) return false;
    const reason = reach(parsed, <usize>at, match.width);
    if (reason != Reason.Ok) {
      if (unread == Reason.Ok) unread = reason;
      continue;
    }
    let value: u32 = 0;
    for (let byte: u32 = 0; byte < match.width; byte++) value = (value << 8) | <u32>load<u8>(<usize>(at + byte));
    if ((value & match.mask) != match.value) return false;
  }
  parsed.unread = <u32>unread;
  return true;
}
