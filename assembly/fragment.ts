/**
 * Fragments (RFC 791, section 3.2; RFC 8200, section 4.5): the ports travel in the first alone, so the later ones follow
 * its decision. Those that come before it are held: the kernel keeps them, without a verdict, until it comes or their time
 * runs out. All fragments of a packet reach the same worker, since queues are balanced by addresses and protocol.
 *
 * What is remembered is bounded by Limit.FragmentSets, Limit.FragmentWays and Fragments.mostHeld; the oldest give way.
 */
import { countReason, countVerdict, increment } from './count';
import {
  Descriptor, FirstFragment, FragmentKey, Fragments, HeldFragment, ImageHeader, Limit, MarkOwner, NONE, Parsed, Region, StreamRecord, TargetRecord,
  Verdict, WorkerState,
} from './layout';
import { parse } from './packet';
import { Reason } from './reason';

/**
 * Decide the fragments that `decide` left among descriptors [first, first + count), and drop what was held too long.
 * Behind `decide` of the same batch; with count 0 where no packet came. `WorkerState.released` descriptors from
 * Limit.Batch on then have verdicts about packets of former batches, which are answered behind those of this one.
 * Time is what `WorkerState.clock` says.
 */
export function follow(worker: usize, first: u32, count: u32): void {
  const state = changetype<WorkerState>(worker + Region.WorkerState);
  const now = state.clock / 1e6;
  const fragments = changetype<Fragments>(worker + Region.WorkerFragments);
  const parsed = changetype<Parsed>(worker + Region.WorkerKey);
  state.released = 0;
  while (state.held != 0 && isOld(heldAt(worker, fragments, 0).at, fragments, now)) {
    fragments.timedOut++;
    dropOldest(worker, state, fragments);
  }
  if (count == 0 || state.fragments == 0) return;
  const header = changetype<ImageHeader>(<usize>Region.Headers + <usize>((state.decidedBy & 1) * Region.HeaderSize));
  let at = worker + Region.WorkerDescriptors + <usize>(first * Region.DescriptorSize);
  for (let n: u32 = 0; n < count; n++, at += Region.DescriptorSize) {
    const descriptor = changetype<Descriptor>(at);
    if (descriptor.fragment == 0) continue;
    parse(descriptor, parsed);
    keyOf(descriptor, parsed, fragments);
    if (descriptor.fragment == 1) {
      remember(worker, state, fragments, descriptor, parsed, now);
      if (state.held != 0) release(worker, state, fragments, descriptor);
    } else {
      fragments.later++;
      const found = find(worker, fragments, now);
      if (found != 0) copyDecision(worker, state, header, descriptor, changetype<FirstFragment>(found), fragments);
      else hold(worker, state, fragments, descriptor, now);
    }
  }
}

/** Ports and protocol of the first of a later fragment, for who watches; none if it is not remembered. */
export function borrowPorts(worker: usize, descriptor: Descriptor, parsed: Parsed): void {
  const fragments = changetype<Fragments>(worker + Region.WorkerFragments);
  keyOf(descriptor, parsed, fragments);
  // Whoever followed it did so a moment ago: its age does not matter.
  const found = find(worker, fragments, -1);
  if (found == 0) return;
  const known = changetype<FirstFragment>(found);
  parsed.protocol = <u16>known.protocol;
  parsed.sourcePort = known.sourcePort;
  parsed.destinationPort = known.destinationPort;
}

/** The outer header's: the key in `parsed` may be that of a packet inside an error. */
function keyOf(descriptor: Descriptor, parsed: Parsed, key: FragmentKey): void {
  const at = <usize>descriptor.offset;
  key.id = parsed.fragmentId;
  if (load<u8>(at) >> 4 == 4) {
    key.source0 = 0;
    key.source1 = <u64>load<u32>(at, 12);
    key.destination0 = 0;
    key.destination1 = <u64>load<u32>(at, 16);
    key.kind = 0x0400 | <u32>load<u8>(at, 9);
  } else {
    key.source0 = load<u64>(at, 8);
    key.source1 = load<u64>(at, 16);
    key.destination0 = load<u64>(at, 24);
    key.destination1 = load<u64>(at, 32);
    key.kind = 0x0600;
  }
}

function isSame(one: FragmentKey, other: FragmentKey): bool {
  return (
    one.id == other.id &&
    one.kind == other.kind &&
    one.source1 == other.source1 &&
    one.destination1 == other.destination1 &&
    one.source0 == other.source0 &&
    one.destination0 == other.destination0
  );
}

/** Ages are in milliseconds. Also true of what seems to come from the future. */
@inline
function isOld(at: f64, fragments: Fragments, now: f64): bool {
  const age = now - at;
  return !(age >= 0 && age <= fragments.timeout);
}

/** Address of the first FirstFragment of the set of the key in `fragments`. */
function setOf(worker: usize, fragments: Fragments): usize {
  const key = changetype<usize>(fragments);
  let digest: u64 = fragments.seed;
  for (let byte: usize = 0; byte < offsetof<FragmentKey>(); byte += 8) {
    digest = (digest ^ load<u64>(key + byte)) * 0x9fb21c651e98df25;
    digest ^= digest >> 32;
  }
  const set = <u32>digest & (<u32>Limit.FragmentSets - 1);
  return worker + Region.WorkerFirsts + <usize>(set * Limit.FragmentWays * <u32>offsetof<FirstFragment>());
}

/** Address of the first fragment that has the key in `fragments`, or 0. @param now -1: of any age */
function find(worker: usize, fragments: Fragments, now: f64): usize {
  let at = setOf(worker, fragments);
  for (let way: u32 = 0; way < <u32>Limit.FragmentWays; way++, at += offsetof<FirstFragment>()) {
    const known = changetype<FirstFragment>(at);
    if (!isSame(known, fragments)) continue;
    return now >= 0 && isOld(known.at, fragments, now) ? 0 : at;
  }
  return 0;
}

/** In the place of the same one, else of one that is too old, else of the oldest: an identification that comes again is a new packet's. */
function remember(worker: usize, state: WorkerState, fragments: Fragments, descriptor: Descriptor, parsed: Parsed, now: f64): void {
  let at = setOf(worker, fragments);
  let place: usize = 0;
  let oldest: usize = at;
  let others: u32 = 0;
  for (let way: u32 = 0; way < <u32>Limit.FragmentWays; way++, at += offsetof<FirstFragment>()) {
    const known = changetype<FirstFragment>(at);
    if (isSame(known, fragments)) {
      place = at;
      break;
    }
    if (!isOld(known.at, fragments, now)) others++;
    else if (place == 0) place = at;
    if (known.at < changetype<FirstFragment>(oldest).at) oldest = at;
  }
  if (others != 0) fragments.collided++;
  if (place == 0) {
    place = oldest;
    fragments.evicted++;
  } else {
    const former = changetype<FirstFragment>(place).at;
    if (former != 0 && isOld(former, fragments, now)) fragments.reused++;
  }
  fragments.tracked++;
  memory.copy(place, changetype<usize>(fragments), offsetof<FragmentKey>());
  const entry = changetype<FirstFragment>(place);
  entry.at = now;
  entry.generation = state.decidedBy;
  entry.verdict = descriptor.verdict;
  entry.mark = descriptor.mark;
  entry.reason = descriptor.reason;
  entry.flow = descriptor.flow;
  entry.stream = descriptor.stream;
  entry.hash = descriptor.hash;
  entry.target = descriptor.target;
  entry.counter = descriptor.counter;
  const own = parsed.inner == 0;
  entry.protocol = own ? <u32>parsed.protocol : fragments.kind & 0xff;
  entry.sourcePort = own ? parsed.sourcePort : 0;
  entry.destinationPort = own ? parsed.destinationPort : 0;
}

function copyDecision(worker: usize, state: WorkerState, header: ImageHeader, descriptor: Descriptor, entry: FirstFragment, fragments: Fragments): void {
  if (entry.generation != state.decidedBy) renew(header, entry, state.decidedBy);
  descriptor.verdict = entry.verdict;
  descriptor.mark = entry.mark;
  descriptor.reason = entry.reason;
  descriptor.flow = entry.flow;
  descriptor.stream = entry.stream;
  descriptor.hash = entry.hash;
  descriptor.target = entry.target;
  descriptor.counter = entry.counter;
  fragments.followed++;
  countReason(worker, descriptor);
  increment(worker + Region.WorkerTargetCounters, entry.counter);
}

/**
 * The first was decided by a former image. Its fragments are of use together alone, so the mark stays if somebody still
 * has it; one that nobody has would be routed by chance.
 */
function renew(header: ImageHeader, entry: FirstFragment, generation: u32): void {
  entry.generation = generation;
  entry.flow = NONE;
  if (entry.verdict == Verdict.Accept) {
    if (entry.target != NONE) {
      const owner = ownerOf(header, entry.mark);
      if (owner != 0) {
        adopt(header, entry, changetype<MarkOwner>(owner));
        return;
      }
    } else if (
      (header.markNoFlow != 0 && entry.reason == Reason.NoFlow && entry.mark == header.noFlowMark) ||
      (header.markNoTarget != 0 && entry.reason == Reason.NoTarget && entry.mark == header.noTargetMark)
    ) {
      entry.stream = NONE;
      return;
    }
    entry.verdict = Verdict.Drop;
    entry.reason = Reason.NoTarget;
    entry.mark = 0;
  }
  entry.stream = NONE;
  entry.target = NONE;
  entry.counter = 0;
}

function adopt(header: ImageHeader, entry: FirstFragment, owner: MarkOwner): void {
  const stream = changetype<StreamRecord>(<usize>header.streams + <usize>owner.stream * offsetof<StreamRecord>());
  const record = changetype<TargetRecord>(<usize>stream.targets + <usize>owner.target * offsetof<TargetRecord>());
  entry.stream = owner.stream;
  entry.target = owner.target;
  entry.counter = record.counter;
}

/** Address of the MarkOwner that has `mark`, or 0: a binary search, since there may be thousands and each first asks once an image. */
function ownerOf(header: ImageHeader, mark: u32): usize {
  const owners = <usize>header.owners;
  let low: u32 = 0;
  let high = header.ownerCount;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (changetype<MarkOwner>(owners + <usize>middle * offsetof<MarkOwner>()).mark < mark) low = middle + 1;
    else high = middle;
  }
  const found = owners + <usize>low * offsetof<MarkOwner>();
  return low < header.ownerCount && changetype<MarkOwner>(found).mark == mark ? found : 0;
}

/** The `n`th oldest. */
@inline
function heldAt(worker: usize, fragments: Fragments, n: u32): HeldFragment {
  const index = (fragments.oldest + n) & (<u32>Limit.Held - 1);
  return changetype<HeldFragment>(worker + Region.WorkerHeld + <usize>(index * <u32>offsetof<HeldFragment>()));
}

/** Keep the descriptor's packet without a verdict; the oldest gives way. Without room for any it is dropped. */
function hold(worker: usize, state: WorkerState, fragments: Fragments, descriptor: Descriptor, now: f64): void {
  if (fragments.mostHeld == 0) {
    countReason(worker, descriptor);
    return;
  }
  if (state.held >= fragments.mostHeld) {
    fragments.pushedOut++;
    dropOldest(worker, state, fragments);
  }
  const held = heldAt(worker, fragments, state.held++);
  memory.copy(changetype<usize>(held), changetype<usize>(fragments), offsetof<FragmentKey>());
  held.at = now;
  held.packetId = descriptor.packetId;
  held.wireLength = descriptor.wireLength;
  descriptor.verdict = Verdict.Hold;
  fragments.held++;
}

/** All that wait for the descriptor's packet, whose key is in `fragments`; the others close ranks in their order. */
function release(worker: usize, state: WorkerState, fragments: Fragments, descriptor: Descriptor): void {
  let kept: u32 = 0;
  for (let n: u32 = 0; n < state.held; n++) {
    const held = heldAt(worker, fragments, n);
    if (isSame(held, fragments)) {
      answer(worker, state, held, descriptor.verdict, descriptor.mark, descriptor.reason);
      increment(worker + Region.WorkerTargetCounters, descriptor.counter);
      fragments.released++;
    } else {
      if (kept != n) memory.copy(changetype<usize>(heldAt(worker, fragments, kept)), changetype<usize>(held), offsetof<HeldFragment>());
      kept++;
    }
  }
  state.held = kept;
}

function dropOldest(worker: usize, state: WorkerState, fragments: Fragments): void {
  answer(worker, state, heldAt(worker, fragments, 0), Verdict.Drop, 0, Reason.FragmentWithoutFirst);
  fragments.oldest = (fragments.oldest + 1) & (<u32>Limit.Held - 1);
  state.held--;
}

/** At most Limit.Released a turn: each held packet has one verdict, and a batch holds no more than itself. */
function answer(worker: usize, state: WorkerState, held: HeldFragment, verdict: u32, mark: u32, reason: u32): void {
  const index = <u32>Limit.Batch + state.released++;
  const descriptor = changetype<Descriptor>(worker + Region.WorkerDescriptors + <usize>(index * <u32>Region.DescriptorSize));
  descriptor.packetId = held.packetId;
  descriptor.verdict = verdict;
  descriptor.mark = mark;
  countVerdict(worker, verdict, reason, held.wireLength);
}
