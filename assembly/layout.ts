/**
 * The memory image: the one place where its offsets are written down. Contract of this room:
 * - the module imports `env.memory` and nothing else, has no data segment, no mutable global, and never allocates:
 *   each instance over the same memory is the same pure function;
 * - every address is a byte offset into that memory, 0 stands for "none";
 * - a worker writes only inside its own worker area and its own ring of traces; images are written by the host while no worker reads them.
 *
 * Map (sizes in bytes):
 *   64                      Control: the published generation, what is traced, and two image headers
 *   Region.Workers          worker areas, Region.WorkerSize each: state, key scratch, counters, descriptors, packets
 *   behind the last worker  arena: flows, streams, tables, rings of traces; laid out by host/core/arena.ts
 */

/** Bounds of what the core reads of a packet. */
export const enum Limit {
  /** Bytes of a packet that may be read; the queue's copy range is the same. */
  ReadBytes = 512,
  /** Bytes of the longest packet: above BIG TCP's, and far from where an address would overflow. */
  WireBytes = 16777216,
  /** IPv6 extension headers that are followed. */
  ExtensionHeaders = 16,
  /** Packets of one batch. */
  Batch = 64,
  /** Flow counters of one worker. */
  Flows = 131072,
  /** Largest number of targets of a stream: slots are u16, from CHANGED on they say more than a target, and 0xffff is EMPTY. */
  Targets = 32767,
  /** Slots of a PrefixIndex that one address may take. */
  Probes = 8,
  /** Target counters of one worker, for those of all streams. */
  TargetCounters = 131072,
  /** Room for reasons where packets are counted by them. */
  Reasons = 16,
  /** Batches are counted by size: one packet, 2, up to 4, 8, ... `Batch`. */
  BatchSizes = 7,
  /** Decisions that are timed are counted by duration: up to 2^FirstDecisionTime ns, twice that, ...; the last has no bound. */
  DecisionTimes = 16,
  FirstDecisionTime = 8,
  /** Readers of traces at one time. */
  Taps = 8,
  /** Sets of first fragments that one worker remembers, a power of 2, and the firsts of a set. */
  FragmentSets = 4096,
  FragmentWays = 4,
  /** Fragments that one worker holds until their first comes. */
  Held = 256,
  /** Verdicts of one turn about packets of former batches: of all that were held, and of all that the batch held. */
  Released = 320,
}

/** "No such index" in descriptors. */
export const NONE: u32 = 0xffffffff;
/** A slot that no target owns. */
export const EMPTY: u16 = 0xffff;

/** A slot with this bit has a target that is not the one it had: the slot of `StreamRecord.previous` says which that was. */
export const CHANGED: u16 = 0x8000;

/** Netfilter's verdicts (linux/netfilter.h). */
export const enum Verdict {
  Drop = 0,
  Accept = 1,
  /** No verdict yet: the kernel keeps the packet and is told nothing. Netfilter's number for "somebody else has it". */
  Hold = 2,
}

/** One packet of a batch: the first four fields come from the queue, the others are the core's answer. */
@unmanaged
export class Descriptor {
  /** Queue's id of the packet, host order. */
  packetId: u32;
  /** Address of the first byte of the IP header. */
  offset: u32;
  /** Bytes that are there. */
  length: u32;
  /** Bytes that the packet had on the wire, at least `length`. */
  wireLength: u32;
  /** Verdict. */
  verdict: u32;
  /** Firewall mark; valid if accepted. */
  mark: u32;
  reason: u32;
  /** Index of the matched flow in the image, or NONE. */
  flow: u32;
  /** Index of its stream, or NONE. */
  stream: u32;
  /** Valid if `flow` is not NONE. */
  hash: u32;
  /** Index of the target in its stream's table, or NONE. */
  target: u32;
  /** 0 whole, 1 first fragment, 2 later fragment. */
  fragment: u32;
  /** Index of the target's counter; 0: nobody's. */
  counter: u32;
}

/** The 40 bytes that are hashed (nfqlb's key), and behind them what the parser found on its way. */
@unmanaged
export class Parsed {
  /** Addresses as 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
  source0: u64;
  source1: u64;
  destination0: u64;
  destination1: u64;
  /** Identifier of an echo request, as on the wire; else 0. */
  echoId: u16;
  /** Little-endian. */
  protocol: u16;
  /** Network order. */
  sourcePort: u16;
  /** Network order. */
  destinationPort: u16;

  /** Address of the transport header that decides. */
  transport: u32;
  /** Address behind the last byte that may be read. */
  end: u32;
  /** Address behind the last byte that is ever read, also of a longer packet. */
  readEnd: u32;
  /** Address behind the last byte of the packet on the wire: beyond `end` where the rest was not captured. */
  wireEnd: u32;
  /** 1: the protocol is ICMP or ICMPv6, under either IP version, so that promiscuous ping matches: also of a packet inside an error. */
  ping: u32;
  /** 0 whole, 1 first fragment, 2 later fragment. */
  fragment: u32;
  /** Identification of the fragments' packet, as on the wire. */
  fragmentId: u32;
  /** 1: addresses, protocol and ports are those of the packet inside an error, swapped. */
  inner: u32;
  /** Reason why a byte statement that decides cannot be read; Reason.Ok: none of them. */
  unread: u32;
}

/** One worker's own words. Only its thread writes them, save `stop`. */
@unmanaged
export class WorkerState {
  /** Generation that the worker works with, from the begin of `decide` to `rest`; else 0. */
  epoch: u32;
  /** Not 0: leave the loop. Written by the main thread. */
  stop: u32;
  batches: u64;
  packets: u64;
  /** Address of the Tracing that the worker reads, while it does; else 0. */
  tracing: u32;
  /** Generation by which the last batch was decided. */
  decidedBy: u32;
  /** Connection[4 * (connectionMask + 1)], see assembly/connection.ts; 0: none. */
  connections: u32;
  /** Sets, a power of 2, less 1. */
  connectionMask: u32;
  /** 1: `follow` is called where `decide` leaves fragments to it. Else later fragments are dropped by `decide`. */
  follows: u32;
  /** Fragments in the last batch: `follow` has work. */
  fragments: u32;
  /** Fragments that wait for their first: `follow` has work, also where no packet came. */
  held: u32;
  /** Descriptors behind those of the batch, from Limit.Batch on, that `follow` filled: verdicts about held packets. */
  released: u32;
  /**
   * When the shim last came back with packets or without: nanoseconds of the clock that all threads share (CLOCK_MONOTONIC),
   * to 2 ns after 104 days. It is handed over here because a number that is not whole and goes through JavaScript may become
   * an object there.
   */
  clock: f64;
}

/** What all fragments of a packet have in common; 40 bytes. */
@unmanaged
export class FragmentKey {
  /** As in the outer header; of IPv4 the second words alone. */
  source0: u64;
  source1: u64;
  destination0: u64;
  destination1: u64;
  /** As on the wire. */
  id: u32;
  /** The IP version in the second byte, of IPv4 the protocol in the first: in IPv6 it may differ between fragments (RFC 8200, 4.5). */
  kind: u32;
}

/** A first fragment that was decided, and what the later ones shall follow. */
@unmanaged
export class FirstFragment extends FragmentKey {
  /** As `follow` was told it; 0: none. */
  at: f64;
  /** What the indexes below belong to. */
  generation: u32;
  verdict: u32;
  mark: u32;
  reason: u32;
  flow: u32;
  stream: u32;
  hash: u32;
  target: u32;
  counter: u32;
  /** Of the key by which it was decided, for traces. */
  protocol: u32;
  /** Network order. */
  sourcePort: u16;
  destinationPort: u16;
  padding: u32;
}

/** A later fragment without a verdict. */
@unmanaged
export class HeldFragment extends FragmentKey {
  /** As `follow` was told it. */
  at: f64;
  packetId: u32;
  wireLength: u32;
}

/** One worker's fragments: its settings, which the worker writes at its start, and counts. It begins with a key as scratch. */
@unmanaged
export class Fragments extends FragmentKey {
  /** So that nobody outside can choose who shares a set. */
  seed: u64;
  /** Milliseconds that a first is remembered, and a later one held. */
  timeout: f64;
  /** At most Limit.Held. */
  mostHeld: u32;
  /** Index of the oldest of the ring HeldFragment[Limit.Held]. */
  oldest: u32;
  /** First fragments that were remembered. */
  tracked: u64;
  /** Of them, those whose set had another one that was not too old. */
  collided: u64;
  /** Firsts that were forgotten for them before their time. */
  evicted: u64;
  /** Firsts that were too old and gave them their place. */
  reused: u64;
  /** Later fragments, whatever came of them. */
  later: u64;
  /** Of them, those that came after their first. */
  followed: u64;
  /** Of them, those that were held. */
  held: u64;
  /** Of the held ones, those whose first came; whose time ran out; and that gave their place to younger ones. */
  released: u64;
  timedOut: u64;
  pushedOut: u64;
}

/** A connection whose slot has changed its target, and that stays with the former one. Four make a set, in one cache line. */
@unmanaged
export class Connection {
  /** Digest of its key; 0: no connection. */
  digest: u64;
  /** For whoever fills the table: when it was last seen. */
  seen: u32;
  /** Index of its target. */
  target: u16;
  padding: u16;
}

/** Packets of one verdict and reason. */
@unmanaged
export class ReasonCount {
  packets: u64;
  /** On the wire. */
  bytes: u64;
}

/** Batches whose decision was timed; u64[Limit.DecisionTimes] follow, counts by duration. */
@unmanaged
export class DecisionTimes {
  nanoseconds: u64;
  packets: u64;
}

/** Root of one image. There are two; generation g uses the one at index g & 1. */
@unmanaged
export class ImageHeader {
  generation: u32;
  /** FlowRecord[flowCount], by descending priority, equal ones in their order. */
  flows: u32;
  flowCount: u32;
  /** StreamRecord[streamCount] */
  streams: u32;
  streamCount: u32;
  /** 1: SCTP is hashed over its ports alone. */
  sctpPortsHash: u32;
  promiscuousPing: u32;
  /** 1: packets without a flow are accepted with `noFlowMark`. */
  markNoFlow: u32;
  noFlowMark: u32;
  markNoTarget: u32;
  noTargetMark: u32;
  /** Classifier; 0: the flows are tried one by one. */
  classifier: u32;
  /** MarkOwner[ownerCount], all targets of all streams, by ascending mark. */
  owners: u32;
  ownerCount: u32;
}

@unmanaged
export class Control {
  /** Published generation; 0: none yet. One atomic store here publishes an image. */
  generation: u32;
  /** Address of the Tracing in force; 0: nobody watches. */
  tracing: u32;
}

/** What is watched. A change makes a new one and publishes its address; the rings stay. */
@unmanaged
export class Tracing {
  /** TraceRing[workers] */
  rings: u32;
  /** ImageHeader[tapCount]: `flows` say what one reader wants, no flows: everything; `generation` 0: nobody's. */
  taps: u32;
  /** At most Limit.Taps. */
  tapCount: u32;
  /** Bytes of each packet that are kept. */
  snapLength: u32;
  /** Tells it from the others. */
  number: u32;
}

/**
 * Records of one worker for the main thread. One writes, one reads, neither waits: what finds no room is counted and gone,
 * and what is there is never overwritten before it was read.
 */
@unmanaged
export class TraceRing {
  /** Bytes that were ever written, modulo 2^32. Written by the worker. */
  head: u32;
  /** Packets that somebody wanted, lost ones included, modulo 2^32. */
  sequence: u32;
  /** Address of the first byte of the records. */
  data: u32;
  /** Bytes of the records: a power of two. */
  size: u32;
  /** Packets that found no room, by tap: u64[Limit.Taps]. */
  lost0: u64;
  lost1: u64;
  lost2: u64;
  lost3: u64;
  lost4: u64;
  lost5: u64;
  lost6: u64;
  lost7: u64;
  /** To the next cache line, which is the reader's own. */
  padding0: u64;
  padding1: u64;
  padding2: u64;
  padding3: u64;
  padding4: u64;
  padding5: u64;
  /** Bytes that were ever read, modulo 2^32. Written by the main thread. */
  tail: u32;
  padding6: u32;
  padding7: u64;
  padding8: u64;
  padding9: u64;
  padding10: u64;
  padding11: u64;
  padding12: u64;
  padding13: u64;
}

/** One packet and its decision; the packet's first bytes follow. Never broken at the ring's end. */
@unmanaged
export class TraceRecord {
  /** Of the record with its packet, a multiple of 8: the next one follows. */
  bytes: u32;
  /** Bit by tap that wants it; 0: this fills the ring's end and is no record. */
  taps: u32;
  /** As the worker was told it; of the whole batch. */
  time: f64;
  /** Number of the record among all that its worker offered; a gap is what was lost. */
  sequence: u32;
  /** What the indexes of flow and stream belong to. */
  generation: u32;
  /** `number` of the Tracing: what the indexes of its flows belong to. */
  tracing: u32;
  /** Bytes of the packet that follow. */
  captured: u32;
  wireLength: u32;
  verdict: u32;
  mark: u32;
  reason: u32;
  flow: u32;
  stream: u32;
  hash: u32;
  target: u32;
  /** 1: addresses, protocol and ports are those of the packet inside an error, swapped. */
  inner: u32;
  /** As in Descriptor. */
  fragment: u32;
  /** The first bytes of Parsed, up to the ports. */
  source0: u64;
  source1: u64;
  destination0: u64;
  destination1: u64;
  echoId: u16;
  protocol: u16;
  sourcePort: u16;
  destinationPort: u16;
  /** By tap, the index of its flow that matched; 0xffff: it wants everything, or not this. */
  matched0: u64;
  matched1: u64;
}

/** A match rule. Arrays with count 0 match all. */
@unmanaged
export class FlowRecord {
  /** Bit set: Protocols. 0: any protocol. */
  protocols: u32;
  stream: u32;
  /** Index into the workers' flow counters. */
  counter: u32;
  /** UDP port that carries SCTP: this is the hidden flow that finds such packets. Else 0. */
  encapPort: u32;
  /** CidrRecord[] */
  destinations: u32;
  destinationCount: u32;
  sources: u32;
  sourceCount: u32;
  /** RangeRecord[] */
  destinationPorts: u32;
  destinationPortCount: u32;
  sourcePorts: u32;
  sourcePortCount: u32;
  /** ByteMatchRecord[] */
  byteMatches: u32;
  byteMatchCount: u32;
}

/** An address prefix as two masked words in network byte order: `key & mask == address`. */
@unmanaged
export class CidrRecord {
  address0: u64;
  address1: u64;
  mask0: u64;
  mask1: u64;
}

/** Ports, both ends included, host order. */
@unmanaged
export class RangeRecord {
  first: u16;
  last: u16;
}

@unmanaged
export class ByteMatchRecord {
  protocol: u32;
  /** From the start of the transport header. */
  offset: u32;
  /** 1, 2 or 4 */
  width: u32;
  mask: u32;
  value: u32;
}

/** Root of what `firstMatch` walks; how, says assembly/classifier.ts. A flow is in one of the three. */
@unmanaged
export class Classifier {
  /** PrefixIndex */
  destinations: u32;
  /** PrefixIndex */
  sources: u32;
  /** PrefixNode of the flows that are in neither; 0: none. */
  rest: u32;
}

/** From an address to the node of the longest prefix that holds it. */
@unmanaged
export class PrefixIndex {
  /** The best flow that any of its nodes offers, or NONE. */
  best: u32;
  /** u32[slotMask + 1]: PrefixNode of a whole address, by its hash; 0 ends a search. */
  slots: u32;
  slotMask: u32;
  /** Axis of the IPv4 addresses, whose rows are u32: PrefixNode from that bound on, or 0. */
  axis4: u32;
  /** The same of all other addresses. */
  axis6: u32;
}

/** One prefix and the flows that are filed under it: Candidate[count] behind it, or blocks. */
@unmanaged
export class PrefixNode {
  /** Its address as in Parsed. */
  address0: u64;
  address1: u64;
  /** The best flow that it and its parents offer. */
  best: u32;
  /** PrefixNode of the next shorter prefix that holds it, or 0. */
  parent: u32;
  /** Block[count]; 0: candidates. */
  blocks: u32;
  count: u32;
}

/** One flow in a list, with as much of its conditions as has room. */
@unmanaged
export class Candidate {
  /** Index of the FlowRecord: the smaller, the better. */
  flow: u32;
  /** Bit by KindOf of packets that it takes; five bits up, of those whose other address is not IPv4's. */
  kinds: u16;
  /** Bit set: Check. */
  checks: u16;
  /** The least port of its ranges, and how far the greatest lies behind it; host order. */
  destinationPort: u16;
  destinationPortSpan: u16;
  sourcePort: u16;
  sourcePortSpan: u16;
  /** The other address (the source of a packet by whose destination the flow is filed): `word & mask == value`, network order. */
  otherMask: u32;
  otherValue: u32;
}

/** Up to Limit.BlockFlows flows as bits of rows. A row: a word with a bit for each word that is not 0, then the words. */
@unmanaged
export class Block {
  /** Its first flow. */
  best: u32;
  /** Bytes of a row. */
  stride: u32;
  /** Candidate[], in the order of the bits. */
  candidates: u32;
  /** Rows by KindOf. */
  kinds: u32;
  /** Axis by AxisOf. */
  axes: u32;
}

/** The bounds at which something changes along a field, and what it is from each of them on. */
@unmanaged
export class Axis {
  /** Ascending from 0: u32 of ports and IPv4 addresses; two u64 of other addresses, the high one first. */
  bounds: u32;
  /** 0: no flow of the block asks about the field. */
  count: u32;
  /** Rows by bound. */
  rows: u32;
  /** The second bound: what is less needs no search. Not of IPv6, here and below. */
  base: u32;
  /** Part `min((value - base) >> shift, lastPart)` of the field ... */
  shift: u32;
  lastPart: u32;
  /** ... begins at the bound of this index, and ends at most at that of the next: u32[lastPart + 2] */
  starts: u32;
}

/** Which field an axis is of. */
export const enum AxisOf {
  DestinationPort = 0,
  SourcePort = 1,
  Destination4 = 2,
  Destination6 = 3,
  Source4 = 4,
  Source6 = 5,
}

/** What a packet is to protocols and ports. */
export const enum KindOf {
  Tcp = 0,
  Udp = 1,
  Sctp = 2,
  /** Neither of these. */
  Other = 3,
  /** A key of ICMP or ICMPv6 where ping is matched by addresses alone: hidden flows take no part in it. */
  Ping = 4,
  Count = 5,
}

/** What must be asked of the FlowRecord. */
export const enum Check {
  /** Its port ranges. */
  Ports = 1,
  /** Its byte statements. */
  Bytes = 2,
  /** Its addresses of one side: those of the other found it. */
  Destinations = 4,
  Sources = 8,
}

/** A pool of targets and its Maglev table. */
@unmanaged
export class StreamRecord {
  /** u16[size]: target index, with CHANGED where it is not the former one; or EMPTY */
  table: u32;
  /** Prime. */
  size: u32;
  /** TargetRecord[targetCount] */
  targets: u32;
  targetCount: u32;
  /** u16[size]: target index before, of slots with CHANGED: connections that must not move stay with it. 0: none. */
  previous: u32;
}

/** What an index of a stream's table stands for. */
@unmanaged
export class TargetRecord {
  /** Firewall mark. */
  mark: u32;
  /** Index into the workers' target counters, from 1. */
  counter: u32;
}

/** Who has a mark: for what was decided by a former image. */
@unmanaged
export class MarkOwner {
  mark: u32;
  /** Index of the stream, and of the target in it. */
  stream: u32;
  target: u32;
}

/** Bits of FlowRecord.protocols. */
export const enum Protocols {
  Tcp = 1,
  Udp = 2,
  Sctp = 4,
}

/** IANA protocol numbers. */
export const enum IpProtocol {
  HopByHop = 0,
  Icmp = 1,
  Tcp = 6,
  Udp = 17,
  Routing = 43,
  Fragment = 44,
  Authentication = 51,
  Icmpv6 = 58,
  DestinationOptions = 60,
  Sctp = 132,
  Mobility = 135,
  Hip = 139,
  Shim6 = 140,
}

/** Where things stand. Offsets inside a worker area count from its start. */
export const enum Region {
  Control = 64,
  Headers = 128,
  HeaderSize = 64,
  Workers = 65536,
  WorkerState = 0,
  WorkerKey = 64,
  /** u64[Limit.BatchSizes] */
  WorkerBatchSizes = 192,
  WorkerDecisionTimes = 256,
  /** Descriptor[Limit.Batch], and Descriptor[Limit.Released] for held packets, which have an id, a verdict and a mark alone */
  WorkerDescriptors = 512,
  DescriptorSize = 52,
  /** ReasonCount[2][Limit.Reasons], by verdict and reason */
  WorkerReasons = 20480,
  WorkerPackets = 20992,
  /** Room for one message of the queue: its headers and `Limit.ReadBytes` of the packet. */
  PacketSize = 1024,
  /** u64[Limit.Flows] */
  WorkerFlowCounters = 86528,
  /** u64[Limit.TargetCounters]; the first counts packets without a target */
  WorkerTargetCounters = 1135104,
  /** Fragments */
  WorkerFragments = 2183680,
  /** HeldFragment[Limit.Held], a ring in the order of their coming */
  WorkerHeld = 2183936,
  /** FirstFragment[Limit.FragmentSets][Limit.FragmentWays] */
  WorkerFirsts = 2198272,
  WorkerSize = 3771136,
}

/** Byte offsets and sizes of the records, for the host that writes them. */
export const enum Layout {
  DescriptorPacketId = offsetof<Descriptor>('packetId'),
  DescriptorOffset = offsetof<Descriptor>('offset'),
  DescriptorLength = offsetof<Descriptor>('length'),
  DescriptorWireLength = offsetof<Descriptor>('wireLength'),
  DescriptorVerdict = offsetof<Descriptor>('verdict'),
  DescriptorMark = offsetof<Descriptor>('mark'),
  DescriptorReason = offsetof<Descriptor>('reason'),
  DescriptorFlow = offsetof<Descriptor>('flow'),
  DescriptorStream = offsetof<Descriptor>('stream'),
  DescriptorHash = offsetof<Descriptor>('hash'),
  DescriptorTarget = offsetof<Descriptor>('target'),
  DescriptorFragment = offsetof<Descriptor>('fragment'),
  DescriptorBytes = offsetof<Descriptor>(),

  ParsedFragmentId = offsetof<Parsed>('fragmentId'),
  ParsedKeyBytes = offsetof<Parsed>('transport'),
  ParsedBytes = offsetof<Parsed>(),

  WorkerEpoch = offsetof<WorkerState>('epoch'),
  WorkerStop = offsetof<WorkerState>('stop'),
  WorkerBatches = offsetof<WorkerState>('batches'),
  WorkerPackets = offsetof<WorkerState>('packets'),
  WorkerTracing = offsetof<WorkerState>('tracing'),
  WorkerConnections = offsetof<WorkerState>('connections'),
  WorkerConnectionMask = offsetof<WorkerState>('connectionMask'),
  WorkerFollows = offsetof<WorkerState>('follows'),
  WorkerFragmentsCame = offsetof<WorkerState>('fragments'),
  WorkerHeldNow = offsetof<WorkerState>('held'),
  WorkerReleased = offsetof<WorkerState>('released'),
  WorkerClock = offsetof<WorkerState>('clock'),

  FragmentsSeed = offsetof<Fragments>('seed'),
  FragmentsTimeout = offsetof<Fragments>('timeout'),
  FragmentsMostHeld = offsetof<Fragments>('mostHeld'),
  FragmentsOldest = offsetof<Fragments>('oldest'),
  FragmentsTracked = offsetof<Fragments>('tracked'),
  FragmentsCollided = offsetof<Fragments>('collided'),
  FragmentsEvicted = offsetof<Fragments>('evicted'),
  FragmentsReused = offsetof<Fragments>('reused'),
  FragmentsLater = offsetof<Fragments>('later'),
  FragmentsFollowed = offsetof<Fragments>('followed'),
  FragmentsHeld = offsetof<Fragments>('held'),
  FragmentsReleased = offsetof<Fragments>('released'),
  FragmentsTimedOut = offsetof<Fragments>('timedOut'),
  FragmentsPushedOut = offsetof<Fragments>('pushedOut'),
  FragmentsBytes = offsetof<Fragments>(),
  FirstFragmentBytes = offsetof<FirstFragment>(),
  HeldFragmentBytes = offsetof<HeldFragment>(),

  ConnectionDigest = offsetof<Connection>('digest'),
  ConnectionSeen = offsetof<Connection>('seen'),
  ConnectionTarget = offsetof<Connection>('target'),
  ConnectionBytes = offsetof<Connection>(),

  ReasonCountPackets = offsetof<ReasonCount>('packets'),
  ReasonCountByteCount = offsetof<ReasonCount>('bytes'),
  ReasonCountBytes = offsetof<ReasonCount>(),

  DecisionTimesNanoseconds = offsetof<DecisionTimes>('nanoseconds'),
  DecisionTimesPackets = offsetof<DecisionTimes>('packets'),
  DecisionTimesCounts = offsetof<DecisionTimes>(),

  HeaderGeneration = offsetof<ImageHeader>('generation'),
  HeaderFlows = offsetof<ImageHeader>('flows'),
  HeaderFlowCount = offsetof<ImageHeader>('flowCount'),
  HeaderStreams = offsetof<ImageHeader>('streams'),
  HeaderStreamCount = offsetof<ImageHeader>('streamCount'),
  HeaderSctpPortsHash = offsetof<ImageHeader>('sctpPortsHash'),
  HeaderPromiscuousPing = offsetof<ImageHeader>('promiscuousPing'),
  HeaderMarkNoFlow = offsetof<ImageHeader>('markNoFlow'),
  HeaderNoFlowMark = offsetof<ImageHeader>('noFlowMark'),
  HeaderMarkNoTarget = offsetof<ImageHeader>('markNoTarget'),
  HeaderNoTargetMark = offsetof<ImageHeader>('noTargetMark'),
  HeaderClassifier = offsetof<ImageHeader>('classifier'),
  HeaderOwners = offsetof<ImageHeader>('owners'),
  HeaderOwnerCount = offsetof<ImageHeader>('ownerCount'),
  HeaderBytes = offsetof<ImageHeader>(),

  ControlGeneration = offsetof<Control>('generation'),
  ControlTracing = offsetof<Control>('tracing'),

  TracingRings = offsetof<Tracing>('rings'),
  TracingTaps = offsetof<Tracing>('taps'),
  TracingTapCount = offsetof<Tracing>('tapCount'),
  TracingSnapLength = offsetof<Tracing>('snapLength'),
  TracingNumber = offsetof<Tracing>('number'),
  TracingBytes = offsetof<Tracing>(),

  RingHead = offsetof<TraceRing>('head'),
  RingLost = offsetof<TraceRing>('lost0'),
  RingData = offsetof<TraceRing>('data'),
  RingSize = offsetof<TraceRing>('size'),
  RingTail = offsetof<TraceRing>('tail'),
  RingBytes = offsetof<TraceRing>(),

  RecordBytes = offsetof<TraceRecord>('bytes'),
  RecordTaps = offsetof<TraceRecord>('taps'),
  RecordTime = offsetof<TraceRecord>('time'),
  RecordSequence = offsetof<TraceRecord>('sequence'),
  RecordGeneration = offsetof<TraceRecord>('generation'),
  RecordTracing = offsetof<TraceRecord>('tracing'),
  RecordCaptured = offsetof<TraceRecord>('captured'),
  RecordWireLength = offsetof<TraceRecord>('wireLength'),
  RecordVerdict = offsetof<TraceRecord>('verdict'),
  RecordMark = offsetof<TraceRecord>('mark'),
  RecordReason = offsetof<TraceRecord>('reason'),
  RecordFlow = offsetof<TraceRecord>('flow'),
  RecordStream = offsetof<TraceRecord>('stream'),
  RecordHash = offsetof<TraceRecord>('hash'),
  RecordTarget = offsetof<TraceRecord>('target'),
  RecordInner = offsetof<TraceRecord>('inner'),
  RecordFragment = offsetof<TraceRecord>('fragment'),
  RecordSource = offsetof<TraceRecord>('source0'),
  RecordDestination = offsetof<TraceRecord>('destination0'),
  RecordProtocol = offsetof<TraceRecord>('protocol'),
  RecordSourcePort = offsetof<TraceRecord>('sourcePort'),
  RecordDestinationPort = offsetof<TraceRecord>('destinationPort'),
  RecordMatched = offsetof<TraceRecord>('matched0'),
  RecordPacket = offsetof<TraceRecord>(),

  FlowProtocols = offsetof<FlowRecord>('protocols'),
  FlowStream = offsetof<FlowRecord>('stream'),
  FlowCounter = offsetof<FlowRecord>('counter'),
  FlowEncapPort = offsetof<FlowRecord>('encapPort'),
  FlowDestinations = offsetof<FlowRecord>('destinations'),
  FlowSources = offsetof<FlowRecord>('sources'),
  FlowDestinationPorts = offsetof<FlowRecord>('destinationPorts'),
  FlowSourcePorts = offsetof<FlowRecord>('sourcePorts'),
  FlowByteMatches = offsetof<FlowRecord>('byteMatches'),
  FlowBytes = offsetof<FlowRecord>(),

  CidrBytes = offsetof<CidrRecord>(),
  RangeBytes = offsetof<RangeRecord>(),
  ByteMatchBytes = offsetof<ByteMatchRecord>(),

  ClassifierDestinations = offsetof<Classifier>('destinations'),
  ClassifierSources = offsetof<Classifier>('sources'),
  ClassifierRest = offsetof<Classifier>('rest'),
  ClassifierBytes = offsetof<Classifier>(),
  IndexBest = offsetof<PrefixIndex>('best'),
  IndexSlots = offsetof<PrefixIndex>('slots'),
  IndexSlotMask = offsetof<PrefixIndex>('slotMask'),
  IndexAxis4 = offsetof<PrefixIndex>('axis4'),
  IndexAxis6 = offsetof<PrefixIndex>('axis6'),
  IndexBytes = offsetof<PrefixIndex>(),
  NodeAddress = offsetof<PrefixNode>('address0'),
  NodeBest = offsetof<PrefixNode>('best'),
  NodeParent = offsetof<PrefixNode>('parent'),
  NodeBlocks = offsetof<PrefixNode>('blocks'),
  NodeCount = offsetof<PrefixNode>('count'),
  NodeBytes = offsetof<PrefixNode>(),
  CandidateFlow = offsetof<Candidate>('flow'),
  CandidateKinds = offsetof<Candidate>('kinds'),
  CandidateChecks = offsetof<Candidate>('checks'),
  CandidateDestinationPort = offsetof<Candidate>('destinationPort'),
  CandidateSourcePort = offsetof<Candidate>('sourcePort'),
  CandidateOtherMask = offsetof<Candidate>('otherMask'),
  CandidateOtherValue = offsetof<Candidate>('otherValue'),
  CandidateBytes = offsetof<Candidate>(),
  BlockBest = offsetof<Block>('best'),
  BlockStride = offsetof<Block>('stride'),
  BlockCandidates = offsetof<Block>('candidates'),
  BlockKinds = offsetof<Block>('kinds'),
  BlockAxes = offsetof<Block>('axes'),
  BlockBytes = offsetof<Block>(),
  AxisBounds = offsetof<Axis>('bounds'),
  AxisCount = offsetof<Axis>('count'),
  AxisRows = offsetof<Axis>('rows'),
  AxisBase = offsetof<Axis>('base'),
  AxisShift = offsetof<Axis>('shift'),
  AxisLastPart = offsetof<Axis>('lastPart'),
  AxisStarts = offsetof<Axis>('starts'),
  AxisBytes = offsetof<Axis>(),

  StreamTable = offsetof<StreamRecord>('table'),
  StreamSize = offsetof<StreamRecord>('size'),
  StreamTargets = offsetof<StreamRecord>('targets'),
  StreamTargetCount = offsetof<StreamRecord>('targetCount'),
  StreamPrevious = offsetof<StreamRecord>('previous'),
  StreamBytes = offsetof<StreamRecord>(),

  TargetMark = offsetof<TargetRecord>('mark'),
  TargetCounter = offsetof<TargetRecord>('counter'),
  TargetBytes = offsetof<TargetRecord>(),

  OwnerMark = offsetof<MarkOwner>('mark'),
  OwnerStream = offsetof<MarkOwner>('stream'),
  OwnerTarget = offsetof<MarkOwner>('target'),
  OwnerBytes = offsetof<MarkOwner>(),
}
