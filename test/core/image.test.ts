import { Worker } from 'node:worker_threads';
import t from 'tap';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import type { Config } from '../../host/types/config.js';
import { ImageError } from '../../host/types/errors.js';
import { configOf, flowOf, prefixOf, streamOf } from '../fixture/config.js';
import { ip, TCP, transport } from '../fixture/packet.js';

const module = compileCore();

function storeOf(workers: number, arenaBytes = 8 * 1024 * 1024) {
  const region = instantiateCore(module, createMemory(0x100000));
  const memory = createMemory(memoryBytes(region, workers, arenaBytes));
  const core = instantiateCore(module, memory);
  return { core, memory, images: new ImageStore(core, memory, workers) };
}

/** Generation n marks every packet with n, through a table of its own. */
function configOfGeneration(generation: number): Config {
  const marks = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [index + 1, generation]));
  const streams = [streamOf('s', 20, marks, 200 + generation)];
  return configOf({
    streams,
    flows: Array.from({ length: 1 + (generation % 5) }, (_, n) => flowOf(`f${n}`, 's')),
  });
}

t.test('a worker never sees a half-built image while images are swapped under it', async t => {
  const { core, memory, images } = storeOf(1);
  images.publish(configOfGeneration(1));
  const area = workerArea(core, 0);
  const packet = area + core.Region.WorkerPackets;
  new Uint8Array(memory.buffer).set(ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, 1, 2)), packet);
  const view = new DataView(memory.buffer);
  for (let n = 0; n < core.Limit.Batch; n++) {
    const at = area + core.Region.WorkerDescriptors + n * core.Region.DescriptorSize;
    view.setUint32(at + core.Layout.DescriptorOffset, packet, true);
    view.setUint32(at + core.Layout.DescriptorLength, 40, true);
    view.setUint32(at + core.Layout.DescriptorWireLength, 40, true);
  }
  // Counts batches, and packets whose mark differs from the first of their batch or that were not accepted.
  const results = new Int32Array(new SharedArrayBuffer(16));
  const reader = new Worker(new URL('./image-reader.js', import.meta.url), {
    workerData: { module, memory, results },
  });
  while (Atomics.load(results, 0) === 0) await new Promise(resolve => setImmediate(resolve));
  for (let generation = 2; generation <= 400; generation++) {
    images.publish(configOfGeneration(generation));
    await images.retire();
  }
  Atomics.store(results, 2, 1);
  await new Promise(resolve => reader.once('exit', resolve));
  t.ok(Atomics.load(results, 0) > 400, `${Atomics.load(results, 0)} batches were read meanwhile`);
  t.equal(Atomics.load(results, 1), 0, 'no packet of a batch had another generation than its batch');
  t.equal(Atomics.load(results, 3), 400, 'the last batch saw the last generation');
});

t.test('an unchanged stream keeps its table, and nothing is lost by a thousand changes', async t => {
  const { images } = storeOf(1);
  const config = configOf({
    streams: [streamOf('a', 100, { 1: 5001 }), streamOf('b', 100, { 1: 6001 })],
    flows: [flowOf('f', 'a')],
  });
  const first = images.publish(config);
  await images.retire();
  const used = images.usedBytes;
  const [tableA, tableB] = first.streams.map(stream => stream.table);
  const changed = images.publish({
    ...config,
    streams: [config.streams[0]!, streamOf('b', 100, { 1: 6001, 2: 6002 })],
  });
  t.equal(changed.streams[0]!.table, tableA);
  t.not(changed.streams[1]!.table, tableB);
  await images.retire();
  for (let n = 0; n < 1000; n++) {
    images.publish(config);
    await images.retire();
  }
  t.equal(images.usedBytes, used);
});

t.test('an image that does not fit is refused, and the published one stays with its counters', async t => {
  const { images } = storeOf(1, 256 * 1024);
  const small = configOf({ streams: [streamOf('a', 10, { 1: 5001 })], flows: [flowOf('f', 'a')] });
  images.publish(small);
  await images.retire();
  const used = images.usedBytes;
  t.throws(
    () =>
      images.publish(
        configOf({ streams: [streamOf('a', 100, { 1: 5001 }, 1000003)], flows: [flowOf('f', 'a')] }),
      ),
    ImageError,
  );
  t.equal(images.usedBytes, used);
  t.equal(images.current?.config, small);
  t.equal(images.publish(small).generation, 2);
});

t.test(
  'fifty images too large for the memory are refused before a table is filled, named, and leave nothing',
  async t => {
    const { images } = storeOf(1, 4 * 1024 * 1024);
    const small = configOf({ streams: [streamOf('a', 10, { 1: 5001 })], flows: [flowOf('f', 'a')] });
    images.publish(small);
    await images.retire();
    const used = images.usedBytes;
    const filled = images.rebuilds.count;
    for (let round = 0; round < 50; round++) {
      const streams = Array.from({ length: 40 }, (_, index) =>
        streamOf(`s${index}`, 100 + index, { 1: 5001 }, 65_537 + 1000 * round),
      );
      t.throws(() => images.publish(configOf({ streams, flows: [flowOf('f', 's0')] })), {
        code: 'IMAGE_TOO_LARGE',
        message: /^the table of stream s[0-9]+, [0-9]+ slots: .* bytes in one piece of the core's memory/,
      });
      t.equal(images.usedBytes, used);
    }
    t.equal(images.rebuilds.count, filled);
    t.equal(images.current?.config, small);
    images.publish(configOf({ streams: [streamOf('b', 100, { 1: 5001 })], flows: [flowOf('f', 'b')] }));
    await images.retire();
    images.publish(small);
    await images.retire();
    t.equal(images.usedBytes, used);
  },
);

t.test('flows with more parts than there is room for are refused by their numbers, and none is listed', t => {
  const { images } = storeOf(1, 4 * 1024 * 1024);
  const unlisted = new Proxy(
    Array.from({ length: 200_000 }, () => prefixOf('20.0.0.1/32')),
    {
      get: (list, key) => {
        if (key !== 'length') throw new Error(`the list was asked for ${String(key)}`);
        return list.length;
      },
    },
  );
  const flows = [flowOf('one', 'a'), flowOf('two', 'a', { vips: unlisted })];
  t.throws(() => images.publish(configOf({ streams: [streamOf('a', 10, { 1: 5001 })], flows })), {
    code: 'IMAGE_TOO_LARGE',
    message:
      /^2 flows with 200000 prefixes, 0 port ranges and 0 byte matches need 6400112 bytes of the core's memory, of which \d{7} are free$/,
  });
  t.equal(images.usedBytes, 0);
  t.end();
});

t.test('what a refused image had counters for does not stand in the way of the next', async t => {
  const { core, images } = storeOf(1, 64 * 1024 * 1024);
  const flows = (name: string, count: number) =>
    Array.from({ length: count }, (_, n) => flowOf(`${name}${n}`, 'a'));
  const config = (name: string, count: number) =>
    configOf({ streams: [streamOf('a', 10, { 1: 5001 })], flows: flows(name, count) });
  images.publish(config('present', 1));
  await images.retire();
  t.throws(() => images.publish(config('many', core.Limit.Flows)), {
    code: 'IMAGE_TOO_LARGE',
    message:
      /^more than 131072 flows: the configuration has 131072, the one before 1 that are not among them$/,
  });
  t.equal(images.publish(config('other', 2)).flows.length, 2);
});

t.test('a worker in an old generation holds back what it uses', async t => {
  const { core, memory, images } = storeOf(2);
  images.publish(configOfGeneration(1));
  await images.retire();
  const epoch = (workerArea(core, 1) + core.Region.WorkerState + core.Layout.WorkerEpoch) / 4;
  const words = new Int32Array(memory.buffer);
  Atomics.store(words, epoch, 1);
  images.publish(configOfGeneration(2));
  let retired = false;
  const retiring = images.retire().then(() => {
    retired = true;
  });
  for (let n = 0; n < 20; n++) await new Promise(resolve => setTimeout(resolve, 1));
  t.notOk(retired);
  t.throws(() => images.publish(configOfGeneration(3)), /retired/);
  Atomics.store(words, epoch, 0);
  await retiring;
  t.ok(retired);
});

t.test(
  'prefixes and ports of a flow are merged in the image, and stand in the configuration as given',
  async t => {
    const { core, memory, images } = storeOf(1);
    const { Layout, Region } = core;
    const range = (first: number, last: number) => ({ first, last });
    const flow = flowOf('f', 's', {
      protocols: ['tcp'],
      vips: ['20.0.0.1/32', '20.0.0.0/24', '20.0.0.0/24', '2000::1/128', '2000::/64', '30.0.0.0/8'].map(
        prefixOf,
      ),
      sourceSubnets: ['10.0.0.0/9', '10.0.0.0/8'].map(prefixOf),
      destinationPortRanges: [
        range(80, 90),
        range(85, 100),
        range(101, 101),
        range(443, 443),
        range(443, 443),
      ],
      sourcePortRanges: [range(2, 3), range(1, 1)],
    });
    const image = images.publish(configOf({ streams: [streamOf('s', 10, { 1: 5001 })], flows: [flow] }));
    t.equal(image.flows[0]!.flow, flow);

    const view = new DataView(memory.buffer);
    const header = Region.Headers + (image.generation & 1) * Region.HeaderSize;
    const record = view.getUint32(header + Layout.HeaderFlows, true);
    // Address and count stand side by side.
    const place = (offset: number) =>
      [view.getUint32(record + offset, true), view.getUint32(record + offset + 4, true)] as const;
    const ports = (offset: number) => {
      const [address, count] = place(offset);
      return Array.from({ length: count }, (_, n) => [
        view.getUint16(address + n * Layout.RangeBytes, true),
        view.getUint16(address + n * Layout.RangeBytes + 2, true),
      ]);
    };
    t.equal(place(Layout.FlowDestinations)[1], 3, '20.0.0.0/24, 30.0.0.0/8 and 2000::/64');
    t.equal(place(Layout.FlowSources)[1], 1, '10.0.0.0/8');
    t.strictSame(ports(Layout.FlowDestinationPorts), [
      [80, 101],
      [443, 443],
    ]);
    t.strictSame(ports(Layout.FlowSourcePorts), [[1, 3]]);
  },
);
