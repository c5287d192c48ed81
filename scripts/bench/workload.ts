/** What is measured: an image of the flows of a shape, and packets that are spread evenly over them. */
import { CLASSIFIER_LIMITS } from '../../host/core/classifier.js';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { type Core, compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import type { Config, Family, Flow, Stream } from '../../host/types/config.js';
import { Random } from './random.js';
import type { Packet, Shape } from './shape.js';

/** Worker areas, each with a batch of its own: enough different packets that no branch predictor learns them by heart. */
const AREAS = 16;
/** Rings of traces take 2 MiB an area. */
const ARENA_BYTES = 256 * 1024 * 1024;
const STREAMS = 4;
const TARGETS = 100;
const SEED = 2016;

export interface Workload {
  readonly family: Family;
  readonly flows: number;
  readonly shape: string;
  readonly areas: number;
  readonly core: Core;
  readonly images: ImageStore;
  readonly memory: WebAssembly.Memory;
}

/** Packets of 40 to 60 bytes from many clients to all of the flows. */
export function workloadOf(shape: Shape, family: Family, flows: number): Workload {
  const { core, memory, images } = storeOf(AREAS);
  const random = new Random(SEED);
  const config = configOf(shape, flows, random);
  images.publish(config);
  for (let area = 0; area < AREAS; area++)
    placeBatch(core, memory, area, family, config.flows, shape, random);
  return { shape: shape.name, family, flows, areas: AREAS, core, images, memory };
}

/** A memory with room for whatever is measured. */
export function storeOf(
  workers: number,
  limits = CLASSIFIER_LIMITS,
  arenaBytes = ARENA_BYTES,
): { core: Core; memory: WebAssembly.Memory; images: ImageStore } {
  const module = compileCore();
  const layout = instantiateCore(module, createMemory(1024 * 1024));
  const memory = createMemory(memoryBytes(layout, workers, arenaBytes));
  const core = instantiateCore(module, memory);
  return { core, memory, images: new ImageStore(core, memory, workers, limits) };
}

/** Decide `batches` batches, turn by turn of the areas. This is what is measured: nothing in it makes an object. */
export function decideBatches({ core, areas }: Workload, batches: number): void {
  const first = workerArea(core, 0);
  const size = core.Region.WorkerSize;
  const count = core.Limit.Batch;
  for (let batch = 0, area = 0; batch < batches; batch++) {
    core.decide(first + area * size, 0, count);
    if (++area === areas) area = 0;
  }
}

/** The same, with what a worker asks and does for who watches; see host/queue/worker.ts. */
export function decideWatchedBatches({ core, memory, areas }: Workload, batches: number): void {
  const first = workerArea(core, 0);
  const size = core.Region.WorkerSize;
  const count = core.Limit.Batch;
  const words = new Int32Array(memory.buffer);
  const tracing = (core.Region.Control + core.Layout.ControlTracing) / 4;
  for (let batch = 0, area = 0; batch < batches; batch++) {
    core.decide(first + area * size, 0, count);
    if (Atomics.load(words, tracing) !== 0) core.trace(first + area * size, 0, count);
    if (++area === areas) area = 0;
  }
}

/** The descriptors of all areas with their answers, one area behind the other. */
export function descriptorsOf({ core, memory, areas }: Workload): Buffer {
  const bytes = core.Limit.Batch * core.Region.DescriptorSize;
  return Buffer.concat(
    Array.from({ length: areas }, (_, area) =>
      Buffer.from(memory.buffer, workerArea(core, area) + core.Region.WorkerDescriptors, bytes),
    ),
  );
}

export function streamOf(stream: number, targets: number, tableSize: number, capacity = targets): Stream {
  return {
    name: `stream-${stream}`,
    maxTargets: capacity,
    tableSize,
    fwmarkOffset: 5000 + stream * 1000,
    targets: Array.from({ length: targets }, (_, index) => ({
      identifier: index + 1,
      fwmark: 5001 + stream * 1000 + index,
      ips: [],
    })),
    healthCheck: null,
  };
}

export function configOf(shape: Shape, flows: number, random = new Random(SEED)): Config {
  return {
    queues: { first: 0, last: 0 },
    queueLength: 1024,
    queueMark: 0x1000,
    markMask: 0xffffffff,
    queueSpinMicroseconds: 0,
    interfaces: { external: null, internal: [] },
    vips: [],
    gateways: [],
    ecmp: true,
    routerId: null,
    portNats: [],
    streams: Array.from({ length: STREAMS }, (_, stream) => streamOf(stream, TARGETS, 100 * TARGETS)),
    flows: Array.from({ length: flows }, (_, index) => ({
      name: `flow-${index}`,
      stream: `stream-${index % STREAMS}`,
      protocols: ['tcp'],
      udpEncapPort: null,
      ...shape.flow(index, flows, random),
    })),
    hashMode: 'five-tuple',
    fragments: 'kernel',
    fragmentTimeoutMs: 500,
    promiscuousPing: true,
    noFlowFwmark: null,
    noTargetsFwmark: null,
    shutdownDelayMs: 1000,
    rulesetFile: null,
    metrics: null,
  };
}

function placeBatch(
  core: Core,
  memory: WebAssembly.Memory,
  area: number,
  family: Family,
  flows: readonly Flow[],
  shape: Shape,
  random: Random,
): void {
  const { Region, Layout, Limit } = core;
  const view = new DataView(memory.buffer);
  for (let n = 0; n < Limit.Batch; n++) {
    const number = area * Limit.Batch + n;
    // A step that shares no factor with the number of packets: neighbours are far apart, and all flows get their share.
    const flow = Math.floor(
      (((number * 389) % (AREAS * Limit.Batch)) * flows.length) / (AREAS * Limit.Batch),
    );
    const packet = tcpPacket(family, shape.packet(flows[flow]!, random));
    const at = workerArea(core, area) + Region.WorkerPackets + n * Region.PacketSize;
    new Uint8Array(memory.buffer, at, packet.length).set(packet);
    const descriptor = workerArea(core, area) + Region.WorkerDescriptors + n * Region.DescriptorSize;
    view.setUint32(descriptor + Layout.DescriptorPacketId, number, true);
    view.setUint32(descriptor + Layout.DescriptorOffset, at, true);
    view.setUint32(descriptor + Layout.DescriptorLength, packet.length, true);
    view.setUint32(descriptor + Layout.DescriptorWireLength, packet.length, true);
  }
}

/** A TCP header without payload. */
function tcpPacket(
  family: Family,
  { source, destination, sourcePort, destinationPort, window }: Packet,
): Uint8Array {
  const headerBytes = family === 4 ? 20 : 40;
  const packet = new Uint8Array(headerBytes + 20);
  const view = new DataView(packet.buffer);
  if (family === 4) {
    view.setUint16(0, 0x4500);
    view.setUint16(2, packet.length);
    view.setUint16(8, 0x4006);
    view.setUint32(12, Number(source));
    view.setUint32(16, Number(destination));
  } else {
    view.setUint16(0, 0x6000);
    view.setUint16(4, 20);
    view.setUint16(6, 0x0640);
    view.setBigUint64(8, source >> 64n);
    view.setBigUint64(16, source & 0xffff_ffff_ffff_ffffn);
    view.setBigUint64(24, destination >> 64n);
    view.setBigUint64(32, destination & 0xffff_ffff_ffff_ffffn);
  }
  view.setUint16(headerBytes, sourcePort);
  view.setUint16(headerBytes + 2, destinationPort);
  view.setUint8(headerBytes + 12, 0x50);
  view.setUint16(headerBytes + 14, window);
  return packet;
}
