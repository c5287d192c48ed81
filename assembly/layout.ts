/**
 * The memory image: the one place where its offsets are written down. Contract of this room:
 * - the module imports `env.memory` and nothing else, has no data segment, no mutable global, and never allocates:
 *   each instance over the same memory is the same pure function;
 * - every address is a byte offset into that memory, 0 stands for "none";
 * - a worker writes only inside its own worker area; images are written by the host while no worker reads them.
 *
 * Map (sizes in bytes):
 *   64                      Control: the published generation and two image headers
 *   Region.Workers          worker areas, Region.WorkerSize each: state, key scratch, counters, descriptors, packets
 *   behind the last worker  arena: flows, streams, tables; laid out by host/core/arena.ts
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
  /** Largest number of targets of a stream: slots are u16, 0xffff is EMPTY. */
  Targets = 65534,
}

/** "No such index" in descriptors. */
export const NONE: u32 = 0xffffffff;
/** A slot that no target owns. */
export const EMPTY: u16 = 0xffff;

/** Netfilter's verdicts (linux/netfilter.h). */
export const enum Verdict {
  Drop = 0,
  Accept = 1,
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
  /** Verdict.Drop or Verdict.Accept. */
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
  /** 1: an ICMP or ICMPv6 message that carries no packet. */
  plainIcmp: u32;
  /** 0 whole, 1 first fragment, 2 later fragment. */
  fragment: u32;
  /** Identification of the fragments' packet, as on the wire. */
  fragmentId: u32;
  /** 1: the key is that of the packet inside an error, swapped. */
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
  /** Bytes on the wire of all packets. */
  bytes: u64;
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
  /** Room for the classifier that will take the place of the linear match. */
  classifier: u32;
}

@unmanaged
export class Control {
  /** Published generation; 0: none yet. One atomic store here publishes an image. */
  generation: u32;
  reserved: u32;
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

/** A pool of targets and its Maglev table. */
@unmanaged
export class StreamRecord {
  /** u16[size]: target index or EMPTY */
  table: u32;
  /** Prime. */
  size: u32;
  /** u32[targetCount]: firewall mark of an index */
  marks: u32;
  targetCount: u32;
  activeCount: u32;
  /** Room for a per-slot previous owner, u16[size]: connections that must not move. 0: none. */
  previous: u32;
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
  /** u64[Reason.Count], packets by reason */
  WorkerReasons = 192,
  WorkerDescriptors = 512,
  DescriptorSize = 48,
  WorkerPackets = 4096,
  /** Room for one message of the queue: its headers and `Limit.ReadBytes` of the packet. */
  PacketSize = 1024,
  /** u64[Limit.Flows] */
  WorkerFlowCounters = 69632,
  WorkerSize = 1118208,
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
  WorkerBytes = offsetof<WorkerState>('bytes'),

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
  HeaderBytes = offsetof<ImageHeader>(),

  ControlGeneration = offsetof<Control>('generation'),

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

  StreamTable = offsetof<StreamRecord>('table'),
  StreamSize = offsetof<StreamRecord>('size'),
  StreamMarks = offsetof<StreamRecord>('marks'),
  StreamTargetCount = offsetof<StreamRecord>('targetCount'),
  StreamActiveCount = offsetof<StreamRecord>('activeCount'),
  StreamBytes = offsetof<StreamRecord>(),
}
