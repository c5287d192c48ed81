/** Slots that have another target than before; what will fill a worker's table of connections is not here yet. */
import t from 'tap';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { ip, TCP, transport } from '../fixture/packet.js';

const CHANGED = 0x8000;
const WAYS = 4;
const SETS = 16;

function storeOf() {
  const module = compileCore();
  const region = instantiateCore(module, createMemory(0x100000));
  const memory = createMemory(memoryBytes(region, 1, 8 * 1024 * 1024));
  const core = instantiateCore(module, memory);
  const images = new ImageStore(core, memory, 1);
  const config = { streams: [streamOf('s', 10, { 3: 5003 }, 100)], flows: [flowOf('f', 's')] };
  images.publish(configOf(config));
  const area = workerArea(core, 0);
  const view = new DataView(memory.buffer);
  return {
    core,
    images,
    view,
    area,
    /** Index of the target and mark of a SYN from `port`. */
    decide: (port: number) => {
      const at = area + core.Region.WorkerPackets;
      const packet = ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, port, 80));
      new Uint8Array(memory.buffer).set(packet, at);
      const descriptor = area + core.Region.WorkerDescriptors;
      view.setUint32(descriptor + core.Layout.DescriptorOffset, at, true);
      view.setUint32(descriptor + core.Layout.DescriptorLength, packet.length, true);
      view.setUint32(descriptor + core.Layout.DescriptorWireLength, packet.length, true);
      core.decide(area, 0, 1);
      core.rest(area);
      return {
        target: view.getUint32(descriptor + core.Layout.DescriptorTarget, true),
        mark: view.getUint32(descriptor + core.Layout.DescriptorMark, true),
      };
    },
  };
}

/** Mark every slot of the one stream. */
function markAll(images: ImageStore): void {
  const slots = images.table(images.current!.streams[0]!);
  slots.forEach((slot, index) => {
    slots[index] = slot | CHANGED;
  });
}

t.test('a changed slot is its target where the worker has no table of connections', async t => {
  const { images, decide } = storeOf();
  markAll(images);
  t.strictSame(decide(1000), { target: 2, mark: 5003 });
});

t.test(
  'of a changed slot the connections in the table stay with their target, the others go with the slot',
  async t => {
    const { core, images, view, area, decide } = storeOf();
    const bytes = SETS * WAYS * core.Layout.ConnectionBytes;
    const connections = images.arena.allocate(bytes);
    const state = area + core.Region.WorkerState;
    view.setUint32(state + core.Layout.WorkerConnections, connections, true);
    view.setUint32(state + core.Layout.WorkerConnectionMask, SETS - 1, true);
    new Uint8Array(view.buffer, connections, bytes).fill(0);
    markAll(images);
    t.equal(decide(1000).target, 2, 'an empty table holds nobody');

    const digest = digestOf('192.0.2.1', '20.0.0.1', 1000, 80);
    const set = Number(digest & BigInt(SETS - 1));
    const at = connections + (set * WAYS + WAYS - 1) * core.Layout.ConnectionBytes;
    view.setBigUint64(at + core.Layout.ConnectionDigest, digest, true);
    view.setUint16(at + core.Layout.ConnectionTarget, 7, true);
    t.equal(decide(1000).target, 7);
    t.equal(decide(1001).target, 2);

    const slots = images.table(images.current!.streams[0]!);
    slots.forEach((slot, index) => {
      slots[index] = slot & ~CHANGED;
    });
    t.equal(decide(1000).target, 2, 'a slot that has not changed does not ask');
  },
);

/** As assembly/connection.ts has it: 64 bits of the 40 bytes of the key. */
function digestOf(from: string, to: string, sourcePort: number, destinationPort: number): bigint {
  const key = Buffer.alloc(40);
  for (const [at, address] of [
    [10, from],
    [26, to],
  ] as const)
    key.set([0xff, 0xff, ...address.split('.').map(Number)], at);
  key.writeUInt16LE(TCP, 34);
  key.writeUInt16BE(sourcePort, 36);
  key.writeUInt16BE(destinationPort, 38);
  const mask = (1n << 64n) - 1n;
  let digest = 0x9e3779b97f4a7c15n;
  for (let at = 0; at < key.length; at += 8) {
    digest = ((digest ^ key.readBigUInt64LE(at)) * 0xff51afd7ed558ccdn) & mask;
    digest ^= digest >> 32n;
  }
  return digest | (1n << 63n);
}
