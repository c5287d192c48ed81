/** A worker's loop without a queue: decides and traces the batch in its area, over and over, each packet numbered anew. */
import { parentPort, workerData } from 'node:worker_threads';
import { instantiateCore, workerArea } from '../../host/core/wasm.js';

export interface HammerData {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly index: number;
  /** i32: not 0: stop. */
  readonly stop: Int32Array;
  /** Bytes of each packet. */
  readonly length: number;
}

const { module, memory, index, stop, length } = workerData as HammerData;
const core = instantiateCore(module, memory);
const area = workerArea(core, index);
const view = new DataView(memory.buffer);
const words = new Int32Array(memory.buffer);
const clock = new Float64Array(memory.buffer, area + core.Region.WorkerState + core.Layout.WorkerClock, 1);
const { Region, Layout, Limit } = core;
const tracing = (Region.Control + Layout.ControlTracing) / 4;

/** An IPv4 UDP packet whose payload is `number` over and over. */
function place(n: number, number: number): void {
  const at = area + Region.WorkerPackets + n * Region.PacketSize;
  view.setUint16(at, 0x4500);
  view.setUint16(at + 2, length);
  view.setUint16(at + 6, 0);
  view.setUint16(at + 8, 0x4011);
  view.setUint32(at + 12, number);
  view.setUint32(at + 16, 0x14000001);
  view.setUint32(at + 20, 0x10000fa0);
  for (let offset = 24; offset < length; offset += 4) view.setUint32(at + offset, number);
  const descriptor = area + Region.WorkerDescriptors + n * Region.DescriptorSize;
  view.setUint32(descriptor + Layout.DescriptorOffset, at, true);
  view.setUint32(descriptor + Layout.DescriptorLength, length, true);
  view.setUint32(descriptor + Layout.DescriptorWireLength, length, true);
}

function loop(): number {
  let number = 0;
  while (Atomics.load(stop, 0) === 0) {
    // Batches of all sizes, so that records meet the ring's end at all places.
    const count = 1 + (number % Limit.Batch);
    for (let n = 0; n < count; n++) place(n, number + n);
    core.decide(area, 0, count);
    if (Atomics.load(words, tracing) !== 0) {
      clock[0] = number;
      core.trace(area, 0, count);
      number += count;
    }
    core.rest(area);
  }
  return number;
}

parentPort!.postMessage(loop());
