/**
 * From bytes to key: IPv4, IPv6, their transports, and the packets inside ICMP errors. Reads nothing outside
 * [offset, end) and answers every input with a Reason.
 *
 * Present: IPv4 with options (RFC 791), IPv6 with extension headers (RFC 8200), authentication headers (RFC 4302),
 * TCP, UDP and SCTP ports, ICMP (RFC 792) and ICMPv6 (RFC 4443) messages and the packets that errors carry,
 * all other protocols by their addresses. Absent: putting fragments together (the kernel does, or later ones follow their first: fragment.ts), IPv6 jumbograms.
 */
import { Descriptor, IpProtocol, Limit, Parsed } from './layout';
import { Reason } from './reason';

/** ::ffff:0:0/96 as the little-endian low half of a 16-byte address, without its last four bytes. */
const MAPPED: u64 = 0x00000000ffff0000;

@inline
function be16(at: usize): u32 {
  return <u32>bswap<u16>(load<u16>(at));
}

/** Reason.Ok if `length` bytes at `at` may be read, else why not. */
@inline
export function reach(parsed: Parsed, at: usize, length: u32): Reason {
  const last = <u32>at + length;
  if (last <= parsed.end) return Reason.Ok;
  // Bytes that were on the wire and are not here: behind what is ever read, or cut off by whoever captured them.
  return last <= parsed.wireEnd && last > parsed.readEnd ? Reason.HeadersTooDeep : Reason.Truncated;
}

@inline
function clear(at: usize): void {
  store<u64>(at, 0);
  store<u64>(at, 0, 8);
  store<u64>(at, 0, 16);
  store<u64>(at, 0, 24);
  store<u64>(at, 0, 32);
  store<u64>(at, 0, 40);
  store<u64>(at, 0, 48);
  store<u64>(at, 0, 56);
  store<u64>(at, 0, 64);
  store<u64>(at, 0, 72);
}

/** Fill `parsed` with the key of the packet that `descriptor` names. */
export function parse(descriptor: Descriptor, parsed: Parsed): Reason {
  clear(changetype<usize>(parsed));
  const at = <usize>descriptor.offset;
  const length = min(descriptor.length, <u32>Limit.ReadBytes);
  parsed.end = descriptor.offset + length;
  parsed.readEnd = descriptor.offset + Limit.ReadBytes;
  // No packet is longer than BIG TCP's; a capture may claim lengths that overflow.
  parsed.wireEnd = descriptor.offset + max(min(descriptor.wireLength, <u32>Limit.WireBytes), length);
  if (length == 0) return Reason.Truncated;
  const version = load<u8>(at) >> 4;
  if (version == 4) return ipv4(at, parsed, false);
  if (version == 6) return ipv6(at, parsed, false);
  return Reason.NotIp;
}

/** Shorten the packet to the length that its header states: what follows is padding. */
@inline
function bound(at: usize, stated: u32, parsed: Parsed): Reason {
  const statedEnd = <u32>at + stated;
  if (statedEnd > parsed.wireEnd) return Reason.Truncated;
  parsed.wireEnd = statedEnd;
  if (parsed.end > statedEnd) parsed.end = statedEnd;
  return Reason.Ok;
}

/**
 * RFC 791, section 3.1.
 * @param inner the packet inside an error: routers change its total length and cut it short (RFC 1812, section 4.3.2.3), so
 * it is read as far as its addresses and ports are there
 */
function ipv4(at: usize, parsed: Parsed, inner: bool): Reason {
  let reason = reach(parsed, at, 20);
  if (reason != Reason.Ok) return reason;
  const headerLength = <u32>(load<u8>(at) & 15) * 4;
  if (headerLength < 20) return Reason.BadHeader;
  if (!inner) {
    let totalLength = be16(at + 2);
    // A segmentation-offload packet above 64 KiB (BIG TCP) states 0.
    if (totalLength == 0 && parsed.wireEnd - <u32>at > 0xffff) totalLength = parsed.wireEnd - <u32>at;
    if (totalLength < headerLength) return Reason.BadHeader;
    reason = bound(at, totalLength, parsed);
    if (reason != Reason.Ok) return reason;
    reason = reach(parsed, at, headerLength);
    if (reason != Reason.Ok) return reason;
  }

  const source = MAPPED | (<u64>load<u32>(at + 12) << 32);
  const destination = MAPPED | (<u64>load<u32>(at + 16) << 32);
  parsed.source0 = 0;
  parsed.source1 = inner ? destination : source;
  parsed.destination0 = 0;
  parsed.destination1 = inner ? source : destination;
  // With the addresses: a trace shows these also where the ports are missing.
  parsed.inner = <u32>inner;
  const protocol = <u32>load<u8>(at + 9);
  parsed.protocol = <u16>protocol;

  const fragment = be16(at + 6);
  if ((fragment & 0x3fff) != 0) {
    const later = (fragment & 0x1fff) != 0;
    if (!inner) {
      parsed.fragment = later ? 2 : 1;
      parsed.fragmentId = <u32>load<u16>(at + 4);
    }
    if (later) return Reason.FragmentWithoutFirst;
  }
  return transport(at + <usize>headerLength, protocol, parsed, inner, IpProtocol.Icmp);
}

/** RFC 8200, sections 3 and 4. @param inner as in `ipv4` */
function ipv6(at: usize, parsed: Parsed, inner: bool): Reason {
  let reason = reach(parsed, at, 40);
  if (reason != Reason.Ok) return reason;
  if (!inner) {
    let payloadLength = be16(at + 4);
    if (payloadLength == 0 && parsed.wireEnd - <u32>at > 0xffff + 40) payloadLength = parsed.wireEnd - <u32>at - 40;
    reason = bound(at, 40 + payloadLength, parsed);
    if (reason != Reason.Ok) return reason;
  }

  const source = at + 8;
  const destination = at + 24;
  parsed.source0 = load<u64>(inner ? destination : source);
  parsed.source1 = load<u64>(inner ? destination : source, 8);
  parsed.destination0 = load<u64>(inner ? source : destination);
  parsed.destination1 = load<u64>(inner ? source : destination, 8);

  parsed.inner = <u32>inner;

  let protocol = <u32>load<u8>(at + 6);
  parsed.protocol = <u16>protocol;
  at += 40;
  for (let followed = 0; isExtensionHeader(protocol); followed++) {
    if (followed == Limit.ExtensionHeaders) return Reason.HeadersTooDeep;
    reason = reach(parsed, at, 2);
    if (reason != Reason.Ok) return reason;
    const length = extensionHeaderBytes(protocol, <u32>load<u8>(at + 1));
    // What an error left out of an option decides nothing.
    if (!inner || protocol == IpProtocol.Fragment) {
      reason = reach(parsed, at, length);
      if (reason != Reason.Ok) return reason;
    }
    const next = <u32>load<u8>(at);
    parsed.protocol = <u16>next;
    if (protocol == IpProtocol.Fragment) {
      const fragment = be16(at + 2);
      // Offset 0 without more to come is an atomic fragment (RFC 6946): a whole packet.
      if ((fragment & 0xfff9) != 0) {
        const later = (fragment & 0xfff8) != 0;
        if (!inner) {
          parsed.fragment = later ? 2 : 1;
          parsed.fragmentId = load<u32>(at + 4);
        }
        if (later) return Reason.FragmentWithoutFirst;
      }
    }
    protocol = next;
    at += <usize>length;
  }
  return transport(at, protocol, parsed, inner, IpProtocol.Icmpv6);
}

/** The extension headers that are followed: those of RFC 8200 and of IANA's list that state their own length. */
@inline
function isExtensionHeader(protocol: u32): bool {
  return (
    protocol == IpProtocol.HopByHop ||
    protocol == IpProtocol.Routing ||
    protocol == IpProtocol.Fragment ||
    protocol == IpProtocol.Authentication ||
    protocol == IpProtocol.DestinationOptions ||
    protocol == IpProtocol.Mobility ||
    protocol == IpProtocol.Hip ||
    protocol == IpProtocol.Shim6
  );
}

/** @param stated the second byte of the header */
@inline
function extensionHeaderBytes(protocol: u32, stated: u32): u32 {
  if (protocol == IpProtocol.Fragment) return 8;
  if (protocol == IpProtocol.Authentication) return (stated + 2) * 4; // RFC 4302, section 2.2: in words of 4, less 2
  return (stated + 1) * 8; // RFC 6564: in words of 8, less 1
}

/** @param icmp the number that ICMP has under this IP version */
function transport(at: usize, protocol: u32, parsed: Parsed, inner: bool, icmp: u32): Reason {
  parsed.transport = <u32>at;
  if (protocol == IpProtocol.Tcp || protocol == IpProtocol.Udp || protocol == IpProtocol.Sctp) {
    return ports(at, parsed);
  }
  if (protocol != icmp || inner) {
    parsed.ping = <u32>(protocol == IpProtocol.Icmp || protocol == IpProtocol.Icmpv6);
    return Reason.Ok;
  }
  const reason = reach(parsed, at, 1);
  if (reason != Reason.Ok) return reason;
  const type = <u32>load<u8>(at);
  // The packet that an error carries decides, with its addresses and ports swapped. It has the error's IP version.
  if (icmp == IpProtocol.Icmp) {
    // RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem carry a packet.
    if (type == 3 || type == 4 || type == 5 || type == 11 || type == 12) return ipv4(at + 8, parsed, true);
    return plainIcmp(at, parsed, type == 8);
  }
  // RFC 4443, section 2.1: types 1 to 4 are the errors in use.
  if (type >= 1 && type <= 4) return ipv6(at + 8, parsed, true);
  return plainIcmp(at, parsed, type == 128);
}

/** The first four bytes of a TCP, UDP or SCTP header; swapped where the packet stands inside an error. */
@inline
export function ports(at: usize, parsed: Parsed): Reason {
  const reason = reach(parsed, at, 4);
  if (reason != Reason.Ok) return reason;
  const first = load<u16>(at);
  const second = load<u16>(at, 2);
  parsed.sourcePort = parsed.inner != 0 ? second : first;
  parsed.destinationPort = parsed.inner != 0 ? first : second;
  return Reason.Ok;
}

function plainIcmp(at: usize, parsed: Parsed, echoRequest: bool): Reason {
  parsed.ping = 1;
  if (!echoRequest) return Reason.Ok;
  const reason = reach(parsed, at, 6);
  if (reason != Reason.Ok) return reason;
  parsed.echoId = load<u16>(at, 4);
  return Reason.Ok;
}
