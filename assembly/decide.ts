/** The decision: parse, match, hash, look up. One call a batch; each packet ends with a verdict, a mark and a reason. */
import { firstMatch } from './classifier';
import { settledTarget } from './connection';
import { countBatch, countReason, countTargets, increment } from './count';
import { djb2Key, djb2Ports } from './djb2';
import {
  CHANGED, Control, Descriptor, EMPTY, FlowRecord, ImageHeader, IpProtocol, NONE, Parsed, Region, StreamRecord, TargetRecord, Verdict,
  WorkerState,
} from './layout';
import { parse, ports } from './packet';
import { Reason } from './reason';

/**
 * Decide the packets of descriptors [first, first + count) of a worker's area; `rest` follows once they are answered.
 * A generation must have been published before.
 */
export function decide(worker: usize, first: u32, count: u32): void {
  const state = changetype<WorkerState>(worker + Region.WorkerState);
  const parsed = changetype<Parsed>(worker + Region.WorkerKey);
  const generationAt = <usize>Region.Control + offsetof<Control>('generation');

  // Say first which generation is in use, then load it again: whoever publishes in between sees the older epoch and waits.
  atomic.store<u32>(worker + offsetof<WorkerState>('epoch'), atomic.load<u32>(generationAt));
  const generation = atomic.load<u32>(generationAt);
  const header = changetype<ImageHeader>(<usize>Region.Headers + <usize>((generation & 1) * Region.HeaderSize));

  let fragments: u32 = 0;
  let at = worker + Region.WorkerDescriptors + <usize>(first * Region.DescriptorSize);
  for (let n: u32 = 0; n < count; n++, at += Region.DescriptorSize) {
    const descriptor = changetype<Descriptor>(at);
    const reason = decideOne(header, state, descriptor, parsed, worker + Region.WorkerFlowCounters);
    descriptor.reason = <u32>reason;
    descriptor.fragment = parsed.fragment;
    if (parsed.fragment != 0) {
      fragments++;
      // Decided and counted by `follow`, in assembly/fragment.ts.
      if (parsed.fragment == 2 && state.follows != 0) continue;
    }
    countReason(worker, descriptor);
  }
  state.fragments = fragments;
  countTargets(worker, first, count);
  countBatch(worker, count);
  state.decidedBy = generation;
  state.batches++;
  state.packets += <u64>count;
}

/**
 * Say that the verdicts of what was decided are sent: the worker uses no image until its next batch. The host then frees
 * former images, and removes routes that only their marks led to.
 */
export function rest(worker: usize): void {
  atomic.store<u32>(worker + offsetof<WorkerState>('epoch'), 0);
}

function decideOne(header: ImageHeader, state: WorkerState, descriptor: Descriptor, parsed: Parsed, flowCounters: usize): Reason {
  descriptor.verdict = Verdict.Drop;
  descriptor.mark = 0;
  descriptor.flow = NONE;
  descriptor.stream = NONE;
  descriptor.target = NONE;
  descriptor.hash = 0;
  descriptor.counter = 0;
  let reason = parse(descriptor, parsed);
  if (reason != Reason.Ok) return reason;

  let index = firstMatch(header, parsed);
  let flow = flowAt(header, index);
  if (index != NONE && flow.encapPort != 0) {
    increment(flowCounters, flow.counter);
    reason = enterEncapsulated(parsed);
    if (reason != Reason.Ok) return reason;
    // Hidden flows are UDP's: none is met again.
    index = firstMatch(header, parsed);
    flow = flowAt(header, index);
  }
  if (parsed.unread != Reason.Ok) return <Reason>parsed.unread;
  if (index == NONE) {
    if (header.markNoFlow != 0) accept(descriptor, header.noFlowMark);
    return Reason.NoFlow;
  }
  increment(flowCounters, flow.counter);
  descriptor.flow = index;
  descriptor.stream = flow.stream;

  const hash = keyHash(header, parsed);
  descriptor.hash = hash;
  const stream = changetype<StreamRecord>(<usize>header.streams + <usize>flow.stream * offsetof<StreamRecord>());
  let target = load<u16>(<usize>stream.table + <usize>((hash % stream.size) * 2));
  // One comparison for both: a slot that has not changed pays nothing.
  if (target >= CHANGED) {
    if (target == EMPTY) {
      if (header.markNoTarget != 0) accept(descriptor, header.noTargetMark);
      return Reason.NoTarget;
    }
    target = settledTarget(state, target, parsed);
  }
  descriptor.target = <u32>target;
  const owner = changetype<TargetRecord>(<usize>stream.targets + <usize>target * offsetof<TargetRecord>());
  descriptor.counter = owner.counter;
  accept(descriptor, owner.mark);
  return Reason.Ok;
}

@inline
function flowAt(header: ImageHeader, index: u32): FlowRecord {
  return changetype<FlowRecord>(<usize>header.flows + <usize>index * offsetof<FlowRecord>());
}

@inline
function accept(descriptor: Descriptor, mark: u32): void {
  descriptor.verdict = Verdict.Accept;
  descriptor.mark = mark;
}

/** From the key of a UDP packet to that of the SCTP packet in it (RFC 6951). */
@inline
function enterEncapsulated(parsed: Parsed): Reason {
  parsed.transport += 8;
  parsed.protocol = <u16>IpProtocol.Sctp;
  return ports(<usize>parsed.transport, parsed);
}

@inline
function keyHash(header: ImageHeader, parsed: Parsed): u32 {
  return header.sctpPortsHash != 0 && parsed.protocol == IpProtocol.Sctp ? djb2Ports(parsed) : djb2Key(parsed);
}
