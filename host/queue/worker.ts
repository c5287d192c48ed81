/**
 * A worker thread: one queue, one instance of the core, one loop. No object is made per packet, nor per batch: numbers that are
 * not whole never come here, since outside of optimized code each would be an object.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { instantiateCore, workerArea } from '../core/wasm.js';
import { MagmarkError } from '../types/errors.js';
import { NetfilterQueue } from './native.js';
import type { WorkerData, WorkerMessage } from './thread.js';

/** Bounds how late a stop is seen should its wake be lost; a wake is what normally ends a wait. */
const TIMEOUT_MS = 250;
/** Batches between two reports of the shim's counters, where none waits in vain. A multiple of TIMED_BATCHES. */
const REPORT_BATCHES = 256;
/** Batches from one whose decision is timed to the next. */
const TIMED_BATCHES = 64;

const data = workerData as WorkerData;
const core = instantiateCore(data.module, data.memory);
const area = workerArea(core, data.index);

function open(): NetfilterQueue {
  const { Layout, Limit, Region } = core;
  return new NetfilterQueue({
    queue: data.queue,
    queueLength: data.queueLength,
    copyRange: Limit.ReadBytes,
    receiveBufferBytes: data.receiveBufferBytes,
    wake: data.wake,
    timeoutMs: TIMEOUT_MS,
    spinMicroseconds: data.spinMicroseconds,
    markMask: data.markMask,
    memory: new Uint8Array(data.memory.buffer),
    descriptors: area + Region.WorkerDescriptors,
    descriptorBytes: Region.DescriptorSize,
    fields: {
      packetId: Layout.DescriptorPacketId,
      offset: Layout.DescriptorOffset,
      length: Layout.DescriptorLength,
      wireLength: Layout.DescriptorWireLength,
      verdict: Layout.DescriptorVerdict,
      mark: Layout.DescriptorMark,
    },
    batch: Limit.Batch,
    behind: Limit.Released,
    packets: area + Region.WorkerPackets,
    packetBytes: Region.PacketSize,
    clock: area + Region.WorkerState + Layout.WorkerClock,
  });
}

function prepareFragments(): void {
  const { Layout, Region } = core;
  const view = new DataView(data.memory.buffer);
  const state = area + Region.WorkerState;
  view.setUint32(state + Layout.WorkerFollows, 1, true);
  const fragments = area + Region.WorkerFragments;
  view.setFloat64(fragments + Layout.FragmentsTimeout, data.fragments.timeoutMs, true);
  view.setUint32(fragments + Layout.FragmentsMostHeld, data.fragments.mostHeld, true);
}

// In a function, since code at a module's top level stays interpreted.
function serve(queue: NetfilterQueue): void {
  const words = new Int32Array(data.memory.buffer);
  const state = area + core.Region.WorkerState;
  const stop = (state + core.Layout.WorkerStop) / 4;
  const fragments = (state + core.Layout.WorkerFragmentsCame) / 4;
  const held = (state + core.Layout.WorkerHeldNow) / 4;
  const released = (state + core.Layout.WorkerReleased) / 4;
  const tracing = (core.Region.Control + core.Layout.ControlTracing) / 4;
  // Since the last report: from 2^31 on a number would be an object.
  let batches = 0;
  while (Atomics.load(words, stop) === 0) {
    const count = queue.exchange(0);
    if (count > 0) core.decide(area, 0, count);
    // Their time runs out also where no packet comes.
    const follows = words[held] !== 0 || (count > 0 && words[fragments] !== 0);
    if (follows) core.follow(area, 0, count);
    const behind = follows ? words[released]! : 0;
    if (count > 0) {
      if (Atomics.load(words, tracing) !== 0) core.trace(area, 0, count);
      queue.answer(count, behind);
      // Not before the verdicts are with the kernel: until then the routes that their marks lead to must stand.
      core.rest(area);
      if (batches % TIMED_BATCHES === 0) core.timed(area, count, queue.decidedIn());
      if (++batches === REPORT_BATCHES) batches = 0;
    } else if (behind > 0) queue.answer(0, behind);
    if (count === 0 || batches === 0) queue.statistics(data.counters);
  }
  queue.statistics(data.counters);
  queue.close();
}

function post(message: WorkerMessage): void {
  parentPort!.postMessage(message);
}

let queue: NetfilterQueue | undefined;
try {
  queue = open();
} catch (error) {
  if (!(error instanceof MagmarkError)) throw error;
  post({ type: 'failed', code: error.code, message: error.message });
}
if (queue !== undefined) {
  prepareFragments();
  post({ type: 'bound' });
  serve(queue);
}
