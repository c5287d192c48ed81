/**
 * The only file that instantiates the Wasm core. Everybody else takes a `Core` from here: pure functions over a memory
 * that the caller made, and the numbers of its layout, read from the module's own exports.
 */
import { readFileSync } from 'node:fs';
import { instantiateSync } from '@assemblyscript/loader';
import { EnvironmentError } from '../types/errors.js';

/** Names the core exports as enums; their values are the module's, never typed again here. */
type Numbers<Name extends string> = Readonly<Record<Name, number>>;

export interface Core {
  /** Decide the packets of descriptors [first, first + count) of the worker area at `worker`. */
  decide(worker: number, first: number, count: number): void;
  /**
   * Decide the fragments that `decide` left among these descriptors, and drop those that were held too long; between `decide`
   * and `rest`, or with count 0. See assembly/fragment.ts.
   */
  follow(worker: number, first: number, count: number): void;
  /** Say that what was decided is answered: until its next batch the worker at `worker` uses no image. */
  rest(worker: number): void;
  /** Count a batch of `count` packets by how long its decision took; see assembly/timing.ts. */
  timed(worker: number, count: number, nanoseconds: number): void;
  /** Write decided packets down for who watches; between `decide` and `rest`. See assembly/trace.ts. */
  trace(worker: number, first: number, count: number): void;
  /** Fill u16[size] at `slots`; see assembly/maglev.ts. Returns a Reason. */
  populate(slots: number, size: number, active: number, targetCount: number, scratch: number): number;
  populateScratchBytes(targetCount: number): number;
  /** The largest prime that is not above `n`, at least 3. */
  primeAtMost(n: number): number;
  readonly Layout: Numbers<
    | 'DescriptorPacketId'
    | 'DescriptorOffset'
    | 'DescriptorLength'
    | 'DescriptorWireLength'
    | 'DescriptorVerdict'
    | 'DescriptorMark'
    | 'DescriptorReason'
    | 'DescriptorFlow'
    | 'DescriptorStream'
    | 'DescriptorHash'
    | 'DescriptorTarget'
    | 'DescriptorFragment'
    | 'DescriptorBytes'
    | 'ParsedFragmentId'
    | 'ParsedKeyBytes'
    | 'ParsedBytes'
    | 'WorkerEpoch'
    | 'WorkerStop'
    | 'WorkerBatches'
    | 'WorkerPackets'
    | 'WorkerTracing'
    | 'WorkerConnections'
    | 'WorkerConnectionMask'
    | 'WorkerFollows'
    | 'WorkerFragmentsCame'
    | 'WorkerHeldNow'
    | 'WorkerReleased'
    | 'WorkerClock'
    | 'FragmentsSeed'
    | 'FragmentsTimeout'
    | 'FragmentsMostHeld'
    | 'FragmentsOldest'
    | 'FragmentsTracked'
    | 'FragmentsCollided'
    | 'FragmentsEvicted'
    | 'FragmentsReused'
    | 'FragmentsLater'
    | 'FragmentsFollowed'
    | 'FragmentsHeld'
    | 'FragmentsReleased'
    | 'FragmentsTimedOut'
    | 'FragmentsPushedOut'
    | 'FragmentsBytes'
    | 'FirstFragmentBytes'
    | 'HeldFragmentBytes'
    | 'ConnectionDigest'
    | 'ConnectionSeen'
    | 'ConnectionTarget'
    | 'ConnectionBytes'
    | 'ReasonCountPackets'
    | 'ReasonCountByteCount'
    | 'ReasonCountBytes'
    | 'DecisionTimesNanoseconds'
    | 'DecisionTimesPackets'
    | 'DecisionTimesCounts'
    | 'HeaderGeneration'
    | 'HeaderFlows'
    | 'HeaderFlowCount'
    | 'HeaderStreams'
    | 'HeaderStreamCount'
    | 'HeaderSctpPortsHash'
    | 'HeaderPromiscuousPing'
    | 'HeaderMarkNoFlow'
    | 'HeaderNoFlowMark'
    | 'HeaderMarkNoTarget'
    | 'HeaderNoTargetMark'
    | 'HeaderClassifier'
    | 'HeaderOwners'
    | 'HeaderOwnerCount'
    | 'HeaderBytes'
    | 'ControlGeneration'
    | 'ControlTracing'
    | 'TracingRings'
    | 'TracingTaps'
    | 'TracingTapCount'
    | 'TracingSnapLength'
    | 'TracingNumber'
    | 'TracingBytes'
    | 'RingHead'
    | 'RingLost'
    | 'RingData'
    | 'RingSize'
    | 'RingTail'
    | 'RingBytes'
    | 'RecordBytes'
    | 'RecordTaps'
    | 'RecordTime'
    | 'RecordSequence'
    | 'RecordGeneration'
    | 'RecordTracing'
    | 'RecordCaptured'
    | 'RecordWireLength'
    | 'RecordVerdict'
    | 'RecordMark'
    | 'RecordReason'
    | 'RecordFlow'
    | 'RecordStream'
    | 'RecordHash'
    | 'RecordTarget'
    | 'RecordInner'
    | 'RecordFragment'
    | 'RecordSource'
    | 'RecordDestination'
    | 'RecordProtocol'
    | 'RecordSourcePort'
    | 'RecordDestinationPort'
    | 'RecordMatched'
    | 'RecordPacket'
    | 'FlowProtocols'
    | 'FlowStream'
    | 'FlowCounter'
    | 'FlowEncapPort'
    | 'FlowDestinations'
    | 'FlowSources'
    | 'FlowDestinationPorts'
    | 'FlowSourcePorts'
    | 'FlowByteMatches'
    | 'FlowBytes'
    | 'CidrBytes'
    | 'RangeBytes'
    | 'ByteMatchBytes'
    | 'ClassifierDestinations'
    | 'ClassifierSources'
    | 'ClassifierRest'
    | 'ClassifierBytes'
    | 'IndexBest'
    | 'IndexSlots'
    | 'IndexSlotMask'
    | 'IndexAxis4'
    | 'IndexAxis6'
    | 'IndexBytes'
    | 'NodeAddress'
    | 'NodeBest'
    | 'NodeParent'
    | 'NodeBlocks'
    | 'NodeCount'
    | 'NodeBytes'
    | 'CandidateFlow'
    | 'CandidateKinds'
    | 'CandidateChecks'
    | 'CandidateDestinationPort'
    | 'CandidateSourcePort'
    | 'CandidateOtherMask'
    | 'CandidateOtherValue'
    | 'CandidateBytes'
    | 'BlockBest'
    | 'BlockStride'
    | 'BlockCandidates'
    | 'BlockKinds'
    | 'BlockAxes'
    | 'BlockBytes'
    | 'AxisBounds'
    | 'AxisCount'
    | 'AxisRows'
    | 'AxisBase'
    | 'AxisShift'
    | 'AxisLastPart'
    | 'AxisStarts'
    | 'AxisBytes'
    | 'StreamTable'
    | 'StreamSize'
    | 'StreamTargets'
    | 'StreamTargetCount'
    | 'StreamPrevious'
    | 'StreamBytes'
    | 'TargetMark'
    | 'TargetCounter'
    | 'TargetBytes'
    | 'OwnerMark'
    | 'OwnerStream'
    | 'OwnerTarget'
    | 'OwnerBytes'
  >;
  readonly Limit: Numbers<
    | 'ReadBytes'
    | 'WireBytes'
    | 'ExtensionHeaders'
    | 'Batch'
    | 'Flows'
    | 'Targets'
    | 'TargetCounters'
    | 'Reasons'
    | 'BatchSizes'
    | 'DecisionTimes'
    | 'FirstDecisionTime'
    | 'Probes'
    | 'Taps'
    | 'FragmentSets'
    | 'FragmentWays'
    | 'Held'
    | 'Released'
  >;
  readonly KindOf: Numbers<'Tcp' | 'Udp' | 'Sctp' | 'Other' | 'Ping' | 'Count'>;
  readonly AxisOf: Numbers<
    'DestinationPort' | 'SourcePort' | 'Destination4' | 'Destination6' | 'Source4' | 'Source6'
  >;
  readonly Check: Numbers<'Ports' | 'Bytes' | 'Destinations' | 'Sources'>;
  readonly Protocols: Numbers<'Tcp' | 'Udp' | 'Sctp'>;
  readonly IpProtocol: Numbers<'Tcp' | 'Udp' | 'Sctp' | 'Icmp' | 'Icmpv6'>;
  readonly Region: Numbers<
    | 'Control'
    | 'Headers'
    | 'HeaderSize'
    | 'Workers'
    | 'WorkerState'
    | 'WorkerKey'
    | 'WorkerBatchSizes'
    | 'WorkerDecisionTimes'
    | 'WorkerReasons'
    | 'WorkerDescriptors'
    | 'DescriptorSize'
    | 'WorkerPackets'
    | 'PacketSize'
    | 'WorkerFlowCounters'
    | 'WorkerTargetCounters'
    | 'WorkerFragments'
    | 'WorkerHeld'
    | 'WorkerFirsts'
    | 'WorkerSize'
  >;
  readonly Reason: Numbers<
    | 'Ok'
    | 'NoFlow'
    | 'NoTarget'
    | 'NotIp'
    | 'Truncated'
    | 'BadHeader'
    | 'HeadersTooDeep'
    | 'FragmentWithoutFirst'
    | 'NotPrime'
    | 'Count'
  >;
}

const WASM = new URL('../../wasm/core.wasm', import.meta.url);
const PAGE_BYTES = 65536;

/** Compile the built core once; the module may be posted to workers. */
export function compileCore(): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(WASM));
}

/**
 * A shared memory of `bytes`, rounded up to whole Wasm pages. Pages that nobody touches cost no memory.
 * @throws EnvironmentError if this process may not have so much address space
 */
export function createMemory(bytes: number): WebAssembly.Memory {
  const pages = Math.ceil(bytes / PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new EnvironmentError(
      `the core's memory of ${pages * PAGE_BYTES} bytes cannot be had: ${error.message}; a limit of address space ` +
        '(ulimit -v) may forbid it, of which V8 reserves more than that',
      { cause: error },
    );
  }
}

/** One instance over `memory`. Instances over the same memory do not disturb each other. */
export function instantiateCore(module: WebAssembly.Module, memory: WebAssembly.Memory): Core {
  const { exports } = instantiateSync(module, { env: { memory } });
  return Object.fromEntries(
    Object.entries(exports).map(([name, value]) => [name, plain(value)]),
  ) as unknown as Core;
}

/** The loader leaves the members of enums as WebAssembly.Global objects: take their numbers. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      member instanceof WebAssembly.Global ? member.value : member,
    ]),
  );
}

/** Address of the area of worker `index`, from 0. */
export function workerArea(core: Core, index: number): number {
  return core.Region.Workers + index * core.Region.WorkerSize;
}
