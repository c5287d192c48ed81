/**
 * Decided packets for who watches: into the worker's ring, without waiting. It has a parse of its own, so that a decision
 * that nobody watches costs what it would if this file were not there.
 */
import { firstMatch } from './classifier';
import { borrowPorts } from './fragment';
import { Control, Descriptor, ImageHeader, Limit, NONE, Parsed, Region, TraceRecord, TraceRing, Tracing, WorkerState } from './layout';
import { parse } from './packet';
import { Reason } from './reason';

/**
 * Write down those of the decided packets of descriptors [first, first + count) that somebody wants. Between `decide` and
 * `rest` of the same batch. Each record has the time that `WorkerState.clock` says.
 */
export function trace(worker: usize, first: u32, count: u32): void {
  const tracingAt = <usize>Region.Control + offsetof<Control>('tracing');
  const usedAt = worker + offsetof<WorkerState>('tracing');
  // As with the generation: say first what is in use, then load it again.
  atomic.store<u32>(usedAt, atomic.load<u32>(tracingAt));
  const address = atomic.load<u32>(tracingAt);
  if (address != 0) {
    const tracing = changetype<Tracing>(<usize>address);
    const parsed = changetype<Parsed>(worker + Region.WorkerKey);
    const index = (<u32>worker - Region.Workers) / Region.WorkerSize;
    const ring = changetype<TraceRing>(<usize>tracing.rings + <usize>(index * <u32>offsetof<TraceRing>()));
    const state = changetype<WorkerState>(worker + Region.WorkerState);
    let at = worker + Region.WorkerDescriptors + <usize>(first * Region.DescriptorSize);
    for (let n: u32 = 0; n < count; n++, at += Region.DescriptorSize) {
      const descriptor = changetype<Descriptor>(at);
      parse(descriptor, parsed);
      if (descriptor.fragment == 2) borrowPorts(worker, descriptor, parsed);
      offer(tracing, ring, descriptor, parsed, state.decidedBy, state.clock);
    }
  }
  atomic.store<u32>(usedAt, 0);
}

/** Index of the tap's flow that wants the packet; 0xffff: it wants everything; -1: it does not want this one. */
@inline
function wants(tap: ImageHeader, parsed: Parsed): i32 {
  if (tap.generation == 0) return -1;
  if (tap.flowCount == 0) return 0xffff;
  parsed.unread = Reason.Ok;
  const index = firstMatch(tap, parsed);
  return index == NONE ? -1 : <i32>index;
}

function offer(tracing: Tracing, ring: TraceRing, descriptor: Descriptor, parsed: Parsed, generation: u32, time: f64): void {
  let taps: u32 = 0;
  let matched0: u64 = 0;
  let matched1: u64 = 0;
  let tapAt = <usize>tracing.taps;
  for (let tap: u32 = 0; tap < tracing.tapCount; tap++, tapAt += offsetof<ImageHeader>()) {
    const index = wants(changetype<ImageHeader>(tapAt), parsed);
    if (index >= 0) taps |= 1 << tap;
    const place = <u64>(<u32>index & 0xffff) << <u64>((tap & 3) * 16);
    if (tap < 4) matched0 |= place;
    else matched1 |= place;
  }
  if (taps == 0) return;
  const sequence = ring.sequence++;

  const captured = min(min(descriptor.length, tracing.snapLength), <u32>Limit.ReadBytes);
  const bytes: u32 = (<u32>offsetof<TraceRecord>() + captured + 7) & ~7;
  const head = ring.head;
  const place = head & (ring.size - 1);
  const toEnd: u32 = ring.size - place;
  const skipped: u32 = bytes <= toEnd ? 0 : toEnd;
  const used: u32 = head - atomic.load<u32>(changetype<usize>(ring) + offsetof<TraceRing>('tail'));
  if (skipped + bytes > ring.size - used) return lose(ring, taps);

  if (skipped != 0) {
    const filler = changetype<TraceRecord>(<usize>(ring.data + place));
    filler.bytes = skipped;
    filler.taps = 0;
  }
  const at = <usize>(ring.data + (skipped != 0 ? 0 : place));
  const record = changetype<TraceRecord>(at);
  record.bytes = bytes;
  record.taps = taps;
  record.time = time;
  record.sequence = sequence;
  record.generation = generation;
  record.tracing = tracing.number;
  record.captured = captured;
  record.wireLength = descriptor.wireLength;
  record.verdict = descriptor.verdict;
  record.mark = descriptor.mark;
  record.reason = descriptor.reason;
  record.flow = descriptor.flow;
  record.stream = descriptor.stream;
  record.hash = descriptor.hash;
  record.target = descriptor.target;
  record.inner = parsed.inner;
  record.fragment = descriptor.fragment;
  memory.copy(at + offsetof<TraceRecord>('source0'), changetype<usize>(parsed), offsetof<Parsed>('transport'));
  record.matched0 = matched0;
  record.matched1 = matched1;
  memory.copy(at + offsetof<TraceRecord>(), <usize>descriptor.offset, captured);
  // Last: the reader takes nothing that lies behind the head.
  atomic.store<u32>(changetype<usize>(ring) + offsetof<TraceRing>('head'), head + skipped + bytes);
}

function lose(ring: TraceRing, taps: u32): void {
  for (let at = changetype<usize>(ring) + offsetof<TraceRing>('lost0'); taps != 0; taps >>= 1, at += 8) {
    if ((taps & 1) != 0) store<u64>(at, load<u64>(at) + 1);
  }
}
