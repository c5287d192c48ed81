/** What is counted of decisions. Only the worker itself writes its counters: no lock, no atomic addition. */
import { Descriptor, Limit, ReasonCount, Region } from './layout';

@inline
export function increment(counters: usize, index: u32): void {
  const at = counters + <usize>index * 8;
  store<u64>(at, load<u64>(at) + 1);
}

/** One decided packet, by its verdict and reason. */
@inline
export function countReason(worker: usize, descriptor: Descriptor): void {
  countVerdict(worker, descriptor.verdict, descriptor.reason, descriptor.wireLength);
}

@inline
export function countVerdict(worker: usize, verdict: u32, reason: u32, wireLength: u32): void {
  const place = verdict * <u32>Limit.Reasons + reason;
  const counts = changetype<ReasonCount>(worker + Region.WorkerReasons + <usize>(place * offsetof<ReasonCount>()));
  counts.packets++;
  counts.bytes += <u64>wireLength;
}

/**
 * Who got the packets of a batch. Not packet by packet while they are decided: a store whose address hangs on the hash
 * holds the next packet's loads up, and costs 5 ns a packet instead of 2.
 */
@inline
export function countTargets(worker: usize, first: u32, count: u32): void {
  let at = worker + Region.WorkerDescriptors + <usize>(first * Region.DescriptorSize);
  for (let n: u32 = 0; n < count; n++, at += Region.DescriptorSize)
    increment(worker + Region.WorkerTargetCounters, changetype<Descriptor>(at).counter);
}

@inline
export function countBatch(worker: usize, count: u32): void {
  if (count > 0) increment(worker + Region.WorkerBatchSizes, 32 - clz<u32>(count - 1));
}
