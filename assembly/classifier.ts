/**
 * Which flow a packet belongs to, without trying them one by one. `firstMatch` is the whole interface.
 *
 * Two published structures, one behind the other:
 * - Hierarchical tries without the tries (V. Srinivasan et al., "Fast and Scalable Layer Four Switching", SIGCOMM 1998): each
 *   flow is filed under its destination prefixes, or under its source prefixes where far fewer flows share these. One look
 *   finds the longest prefix of the packet's address, by a hash table of whole addresses or a search among the bounds of
 *   prefixes; shorter ones that hold it follow as its parents. Each node says which is the best flow that it and its
 *   parents can still offer, so that the walk ends early.
 * - Aggregated bit vectors (F. Baboescu, G. Varghese, "Scalable Packet Classification", SIGCOMM 2001) in blocks of at most
 *   4,096 flows where a node has more than a few: for each field a search finds the row of bits of the flows that it
 *   allows; the first bit that all rows share is the flow. A word in front of each row says which of its words are not 0.
 *
 * The host builds it (host/core/classifier.ts) and bounds it: at most 8 nodes on a way, each with at most 8 flows or with
 * blocks; what would go deeper or need too much memory is in `rest`, which is blocks alone. The answer is that of
 * `linearMatch`, which decides where there is no classifier.
 */
import { inCidrs, inRanges, isPing, linearMatch, matchesBytes } from './flow';
import {
  Axis, AxisOf, Block, Candidate, Check, Classifier, FlowRecord, ImageHeader, IpProtocol, KindOf, Limit, NONE, Parsed, PrefixIndex, PrefixNode,
} from './layout';
import { Reason } from './reason';

/** ::ffff:0:0/96 as the little-endian low half of an address, without its last four bytes. */
const MAPPED: u32 = 0xffff0000;

/**
 * The first flow of the image, by priority and order, whose conditions all hold. If it is not known whether a flow's do,
 * since a byte statement reads bytes that are on the wire and not here, `parsed.unread` says why: choosing a lower flow
 * would be a guess.
 * @returns its index, or NONE
 */
export function firstMatch(header: ImageHeader, parsed: Parsed): u32 {
  if (header.classifier == 0) return linearMatch(header, parsed);
  const classifier = changetype<Classifier>(<usize>header.classifier);
  const flows = <usize>header.flows;
  const kind = kindOf(header, parsed);
  const destinations = changetype<PrefixIndex>(<usize>classifier.destinations);
  const source = wordOf(parsed.source0, parsed.source1);
  let best = walk(flows, parsed, kind, source, nodeOf(destinations, parsed.destination0, parsed.destination1), NONE);
  const sources = changetype<PrefixIndex>(<usize>classifier.sources);
  if (sources.best < best) {
    const destination = wordOf(parsed.destination0, parsed.destination1);
    best = walk(flows, parsed, kind, destination, nodeOf(sources, parsed.source0, parsed.source1), best);
  }
  const rest = <usize>classifier.rest;
  if (rest != 0) best = walk(flows, parsed, kind, 0, rest, best);
  return parsed.unread == Reason.Ok ? best : NONE;
}

/** What a candidate asks of an address: an IPv4 address whole; of others the first four bytes, and in bit 32 that it is none. */
@inline
function wordOf(address0: u64, address1: u64): u64 {
  return isIpv4(address0, address1) ? address1 >> 32 : (address0 & 0xffffffff) | 0x100000000;
}

@inline
function isIpv4(address0: u64, address1: u64): bool {
  return address0 == 0 && <u32>address1 == MAPPED;
}

/** What the packet is to protocols and ports. */
@inline
function kindOf(header: ImageHeader, parsed: Parsed): u32 {
  if (parsed.protocol == IpProtocol.Tcp) return KindOf.Tcp;
  if (parsed.protocol == IpProtocol.Udp) return KindOf.Udp;
  if (parsed.protocol == IpProtocol.Sctp) return KindOf.Sctp;
  return isPing(header, parsed) ? KindOf.Ping : KindOf.Other;
}

/** The node of the longest prefix that holds the address, or 0. */
function nodeOf(index: PrefixIndex, address0: u64, address1: u64): usize {
  const mask = index.slotMask;
  let slot = addressHash(address0, address1);
  for (let probe: u32 = 0; probe < <u32>Limit.Probes; probe++, slot++) {
    const at = <usize>load<u32>(<usize>index.slots + <usize>((slot & mask) << 2));
    if (at == 0) break;
    const node = changetype<PrefixNode>(at);
    if (node.address1 == address1 && node.address0 == address0) return at;
  }
  return <usize>load<u32>(addressPlace(<usize>index.axis4, <usize>index.axis6, address0, address1, 4));
}

/** The host's `addressHash` (host/core/prefix-index.ts) is the same. */
@inline
function addressHash(address0: u64, address1: u64): u32 {
  let hash = <u32>address0 * 0x9e3779b1 + <u32>(address0 >> 32) * 0x85ebca77 + <u32>address1 * 0xc2b2ae3d + <u32>(address1 >> 32) * 0x27d4eb2f;
  hash = (hash ^ (hash >> 15)) * 0x2c1b3c6d;
  return hash ^ (hash >> 13);
}

/** The row of the last bound that is not above `value`. No branch depends on a comparison, but for the length of the search. */
@inline
function rowOf(axis: Axis, value: u32, stride: u32): usize {
  const rows = <usize>axis.rows;
  if (value < axis.base) return rows;
  const start = <usize>axis.starts + <usize>(min((value - axis.base) >> axis.shift, axis.lastPart) << 2);
  let place = load<u32>(start);
  let count = load<u32>(start, 4) - place + 1;
  const bounds = <usize>axis.bounds;
  while (count > 1) {
    const half = count >> 1;
    place += half & (0 - <u32>(load<u32>(bounds + <usize>((place + half) << 2)) <= value));
    count -= half;
  }
  return rows + <usize>(place * stride);
}

/** The same of an address that is not IPv4's. */
function row6Of(axis: Axis, high: u64, low: u64, stride: u32): usize {
  const bounds = <usize>axis.bounds;
  let place: u32 = 0;
  let count = axis.count;
  while (count > 1) {
    const half = count >> 1;
    const at = bounds + <usize>((place + half) << 4);
    const boundHigh = load<u64>(at);
    const below = <u32>(boundHigh < high) | (<u32>(boundHigh == high) & <u32>(load<u64>(at, 8) <= low));
    place += half & (0 - below);
    count -= half;
  }
  return <usize>axis.rows + <usize>(place * stride);
}

@inline
function addressPlace(axis4: usize, axis6: usize, address0: u64, address1: u64, stride: u32): usize {
  return isIpv4(address0, address1)
    ? rowOf(changetype<Axis>(axis4), bswap<u32>(<u32>(address1 >> 32)), stride)
    : row6Of(changetype<Axis>(axis6), bswap<u64>(address0), bswap<u64>(address1), stride);
}

/** The best flow of a node and its parents that is better than `best`, else `best`. @param other `wordOf` the other address */
function walk(flows: usize, parsed: Parsed, kind: u32, other: u64, at: usize, best: u32): u32 {
  while (at != 0) {
    const node = changetype<PrefixNode>(at);
    if (node.best >= best) return best;
    best =
      node.blocks == 0
        ? tryEach(flows, parsed, kind, other, at + offsetof<PrefixNode>(), node.count, best)
        : tryBlocks(flows, parsed, kind, <usize>node.blocks, node.count, best);
    at = <usize>node.parent;
  }
  return best;
}

/** Try `count` candidates, best first. */
@inline
function tryEach(flows: usize, parsed: Parsed, kind: u32, other: u64, at: usize, count: u32, best: u32): u32 {
  const destinationPort = <u32>bswap<u16>(parsed.destinationPort);
  const sourcePort = <u32>bswap<u16>(parsed.sourcePort);
  const word = <u32>other;
  const kindBit = kind + <u32>(other >> 32) * KindOf.Count;
  const end = at + <usize>(count * <u32>offsetof<Candidate>());
  for (; at < end; at += offsetof<Candidate>()) {
    const candidate = changetype<Candidate>(at);
    if (candidate.flow >= best) return best;
    if (((<u32>candidate.kinds >> kindBit) & 1) == 0 || (word & candidate.otherMask) != candidate.otherValue) continue;
    if (
      kind != KindOf.Ping &&
      (destinationPort - <u32>candidate.destinationPort > <u32>candidate.destinationPortSpan ||
        sourcePort - <u32>candidate.sourcePort > <u32>candidate.sourcePortSpan)
    )
      continue;
    if (!passes(flows, parsed, kind, candidate)) continue;
    return candidate.flow;
  }
  return best;
}

/**
 * What a candidate's own fields do not say. Byte statements last; only where all holds is `parsed.unread` this candidate's:
 * until then it belongs to the best flow so far.
 */
@inline
function passes(flows: usize, parsed: Parsed, kind: u32, candidate: Candidate): bool {
  const checks = <u32>candidate.checks;
  if (checks != 0) {
    const flow = changetype<FlowRecord>(flows + <usize>candidate.flow * offsetof<FlowRecord>());
    if ((checks & (Check.Ports | Check.Destinations | Check.Sources)) != 0 && !matchesConditions(flow, parsed, kind, checks)) return false;
    if ((checks & Check.Bytes) != 0 && kind != KindOf.Ping) return matchesBytes(flow, parsed);
  }
  parsed.unread = Reason.Ok;
  return true;
}

function matchesConditions(flow: FlowRecord, parsed: Parsed, kind: u32, checks: u32): bool {
  if ((checks & Check.Ports) != 0 && kind != KindOf.Ping) {
    if (!inRanges(flow.destinationPorts, flow.destinationPortCount, parsed.destinationPort)) return false;
    if (!inRanges(flow.sourcePorts, flow.sourcePortCount, parsed.sourcePort)) return false;
  }
  if ((checks & Check.Destinations) != 0 && !inCidrs(flow.destinations, flow.destinationCount, parsed.destination0, parsed.destination1))
    return false;
  return (checks & Check.Sources) == 0 || inCidrs(flow.sources, flow.sourceCount, parsed.source0, parsed.source1);
}

/** Try the flows of `count` blocks, best first. */
function tryBlocks(flows: usize, parsed: Parsed, kind: u32, at: usize, count: u32, best: u32): u32 {
  const end = at + <usize>(count * <u32>offsetof<Block>());
  for (; at < end; at += offsetof<Block>()) {
    const block = changetype<Block>(at);
    if (block.best >= best) return best;
    best = tryBlock(flows, parsed, kind, block, best);
  }
  return best;
}

function tryBlock(flows: usize, parsed: Parsed, kind: u32, block: Block, best: u32): u32 {
  const stride = block.stride;
  const kinds = <usize>block.kinds + <usize>(kind * stride);
  // A field that no flow of the block asks about has no rows: the row of the kind stands in for it.
  let destinationPorts = kinds;
  let sourcePorts = kinds;
  if (kind != KindOf.Ping) {
    destinationPorts = portRow(axisOf(block, AxisOf.DestinationPort), parsed.destinationPort, stride, kinds);
    sourcePorts = portRow(axisOf(block, AxisOf.SourcePort), parsed.sourcePort, stride, kinds);
  }
  const destinations = addressRow(block, AxisOf.Destination4, parsed.destination0, parsed.destination1, stride, kinds);
  const sources = addressRow(block, AxisOf.Source4, parsed.source0, parsed.source1, stride, kinds);

  let words = load<u64>(kinds) & load<u64>(destinationPorts) & load<u64>(sourcePorts) & load<u64>(destinations) & load<u64>(sources);
  for (; words != 0; words &= words - 1) {
    const word = <usize>ctz(words);
    const place = (word + 1) << 3;
    let bits =
      load<u64>(kinds + place) & load<u64>(destinationPorts + place) & load<u64>(sourcePorts + place) &
      load<u64>(destinations + place) & load<u64>(sources + place);
    for (; bits != 0; bits &= bits - 1) {
      const index = (word << 6) + <usize>ctz(bits);
      const candidate = changetype<Candidate>(<usize>block.candidates + index * offsetof<Candidate>());
      if (candidate.flow >= best) return best;
      if (passes(flows, parsed, kind, candidate)) return candidate.flow;
    }
  }
  return best;
}

@inline
function axisOf(block: Block, axis: AxisOf): Axis {
  return changetype<Axis>(<usize>block.axes + <usize>axis * offsetof<Axis>());
}

/** @param port network order */
@inline
function portRow(axis: Axis, port: u16, stride: u32, otherwise: usize): usize {
  return axis.count == 0 ? otherwise : rowOf(axis, <u32>bswap<u16>(port), stride);
}

/** @param which that of IPv4; that of IPv6 follows */
@inline
function addressRow(block: Block, which: AxisOf, address0: u64, address1: u64, stride: u32, otherwise: usize): usize {
  const axis4 = axisOf(block, which);
  if (axis4.count == 0) return otherwise;
  return addressPlace(changetype<usize>(axis4), changetype<usize>(axisOf(block, <AxisOf>(which + 1))), address0, address1, stride);
}
