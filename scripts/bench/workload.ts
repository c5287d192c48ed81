/** What is measured: images of 1, 100 and 1,000 flows, and packets that are spread evenly over them. */
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { type Core, compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import type { Config, Family } from '../../host/types/config.js';

/** Worker areas, each with a batch of its own: enough different packets that no branch predictor learns them by heart. */
const AREAS = 16;
/** Rings of traces take 2 MiB an area. */
const ARENA_BYTES = 64 * 1024 * 1024;
const STREAMS = 4;
const TARGETS = 100;
const PORT = 4000;

export interface Workload {
  readonly family: Family;
  readonly flows: number;
  readonly areas: number;
  readonly core: Core;
  readonly images: ImageStore;
  readonly memory: WebAssembly.Memory;
}

/** `flows` flows, each for TCP to port 4000 of a VIP of its own; packets of 40 to 60 bytes from many clients to all of them. */
export function workloadOf(family: Family, flows: number): Workload {
  const module = compileCore();
  const layout = instantiateCore(module, createMemory(1024 * 1024));
  const memory = createMemory(memoryBytes(layout, AREAS, ARENA_BYTES));
  const core = instantiateCore(module, memory);
  const images = new ImageStore(core, memory, AREAS);
  images.publish(configOf(family, flows));
  for (let area = 0; area < AREAS; area++) placeBatch(core, memory, area, family, flows);
  return { family, flows, areas: AREAS, core, images, memory };
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
    if (Atomics.load(words, tracing) !== 0)
      core.trace(first + area * size, 0, count, Number(process.hrtime.bigint()));
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

function vipOf(family: Family, index: number): string {
  return family === 4 ? `20.0.${index >> 8}.${index & 255}` : `2000::${(index + 1).toString(16)}`;
}

function configOf(family: Family, flows: number): Config {
  return {
    queues: { first: 0, last: 0 },
    queueLength: 1024,
    interfaces: { external: null, internal: [] },
    vips: [],
    gateways: [],
    ecmp: true,
    routerId: null,
    portNats: [],
    streams: Array.from({ length: STREAMS }, (_, stream) => ({
      name: `stream-${stream}`,
      maxTargets: TARGETS,
      tableSize: 100 * TARGETS,
      fwmarkOffset: 5000 + stream * TARGETS,
      targets: Array.from({ length: TARGETS }, (_, index) => ({
        identifier: index + 1,
        fwmark: 5001 + stream * TARGETS + index,
        ips: [],
      })),
      healthCheck: null,
    })),
    flows: Array.from({ length: flows }, (_, index) => ({
      name: `flow-${index}`,
      stream: `stream-${index % STREAMS}`,
      priority: 1,
      protocols: ['tcp'],
      vips: [{ family, address: vipOf(family, index), length: family === 4 ? 32 : 128 }],
      sourceSubnets: [],
      destinationPortRanges: [{ first: PORT, last: PORT }],
      sourcePortRanges: [],
      byteMatches: [],
      udpEncapPort: null,
    })),
    hashMode: 'five-tuple',
    promiscuousPing: true,
    noFlowFwmark: null,
    noTargetsFwmark: null,
    shutdownDelayMs: 1000,
    metrics: null,
  };
}

function placeBatch(
  core: Core,
  memory: WebAssembly.Memory,
  area: number,
  family: Family,
  flows: number,
): void {
  const { Region, Layout, Limit } = core;
  const view = new DataView(memory.buffer);
  for (let n = 0; n < Limit.Batch; n++) {
    const number = area * Limit.Batch + n;
    // A step that shares no factor with the number of packets: neighbours are far apart, and all flows get their share.
    const flow = Math.floor((((number * 389) % (AREAS * Limit.Batch)) * flows) / (AREAS * Limit.Batch));
    const packet = tcpPacket(family, flow, number);
    const at = workerArea(core, area) + Region.WorkerPackets + n * Region.PacketSize;
    new Uint8Array(memory.buffer, at, packet.length).set(packet);
    const descriptor = workerArea(core, area) + Region.WorkerDescriptors + n * Region.DescriptorSize;
    view.setUint32(descriptor + Layout.DescriptorPacketId, number, true);
    view.setUint32(descriptor + Layout.DescriptorOffset, at, true);
    view.setUint32(descriptor + Layout.DescriptorLength, packet.length, true);
    view.setUint32(descriptor + Layout.DescriptorWireLength, packet.length, true);
  }
}

/** A TCP header without payload, from client `client` to the VIP of flow `flow`. */
function tcpPacket(family: Family, flow: number, client: number): Uint8Array {
  const headerBytes = family === 4 ? 20 : 40;
  const packet = new Uint8Array(headerBytes + 20);
  const view = new DataView(packet.buffer);
  if (family === 4) {
    view.setUint16(0, 0x4500);
    view.setUint16(2, packet.length);
    view.setUint16(8, 0x4006);
    view.setUint32(12, 0xc0000000 + client * 7919);
    view.setUint32(16, 0x14000000 + flow);
  } else {
    view.setUint16(0, 0x6000);
    view.setUint16(4, 20);
    view.setUint16(6, 0x0640);
    view.setUint32(8, 0x20010db8);
    view.setUint32(20, client * 7919);
    view.setUint16(24, 0x2000);
    view.setUint32(36, flow + 1);
  }
  view.setUint16(headerBytes, 1024 + ((client * 31) % 60000));
  view.setUint16(headerBytes + 2, PORT);
  view.setUint8(headerBytes + 12, 0x50);
  return packet;
}
