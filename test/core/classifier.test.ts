/** What the classifier promises besides its answers (test/property/classifier.test.ts): its bounds, and what holds without it. */
import t from 'tap';
import { CLASSIFIER_LIMITS, type ClassifierLimits, writeClassifier } from '../../host/core/classifier.js';
import { listedFlows } from '../../host/core/flow-records.js';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { orderedFlows, recordsOf } from '../../host/core/image-parts.js';
import { compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import type { Config, Flow } from '../../host/types/config.js';
import { Random } from '../../scripts/bench/random.js';
import { BUILT } from '../../scripts/bench/shape.js';
import { configOf as benchConfig } from '../../scripts/bench/workload.js';
import { configOf, flowOf, prefixOf, streamOf } from '../fixture/config.js';
import { ip, TCP, transport } from '../fixture/packet.js';

const module = compileCore();

function storeOf({
  arenaBytes = 64 * 1024 * 1024,
  limits = CLASSIFIER_LIMITS,
}: {
  arenaBytes?: number;
  limits?: ClassifierLimits;
}) {
  const region = instantiateCore(module, createMemory(0x100000));
  const memory = createMemory(memoryBytes(region, 1, arenaBytes));
  const core = instantiateCore(module, memory);
  return { core, memory, images: new ImageStore(core, memory, 1, limits) };
}

type Store = ReturnType<typeof storeOf>;

function configWith(flows: readonly Flow[]): Config {
  return configOf({ streams: [streamOf('s', 10, { 1: 5001 })], flows });
}

/** Address of the classifier of the published image, or 0. */
function classifierOf({ core, memory, images }: Store): number {
  const header = core.Region.Headers + (images.current!.generation & 1) * core.Region.HeaderSize;
  return new DataView(memory.buffer).getUint32(header + core.Layout.HeaderClassifier, true);
}

/** Index of the flow of a SYN to port 80 of `to`, or -1. */
function flowOfSyn({ core, memory }: Store, to: string, from = '192.0.2.1'): number {
  const area = workerArea(core, 0);
  const at = area + core.Region.WorkerPackets;
  const packet = ip(from, to, TCP, transport(TCP, 40000, 80));
  new Uint8Array(memory.buffer).set(packet, at);
  const view = new DataView(memory.buffer);
  const descriptor = area + core.Region.WorkerDescriptors;
  view.setUint32(descriptor + core.Layout.DescriptorOffset, at, true);
  view.setUint32(descriptor + core.Layout.DescriptorLength, packet.length, true);
  view.setUint32(descriptor + core.Layout.DescriptorWireLength, packet.length, true);
  core.decide(area, 0, 1);
  core.rest(area);
  return view.getInt32(descriptor + core.Layout.DescriptorFlow, true);
}

const vipOf = (index: number) => `20.0.${index >> 8}.${index & 255}`;
const distinct = (count: number) =>
  Array.from({ length: count }, (_, index) =>
    flowOf(`f${index}`, 's', { vips: [prefixOf(`${vipOf(index)}/32`)] }),
  );

t.test('few flows have no classifier, more have one', async t => {
  const few = storeOf({});
  few.images.publish(configWith(distinct(CLASSIFIER_LIMITS.leastFlows - 1)));
  t.equal(classifierOf(few), 0);
  const more = storeOf({});
  more.images.publish(configWith(distinct(CLASSIFIER_LIMITS.leastFlows)));
  t.not(classifierOf(more), 0);
  t.equal(flowOfSyn(more, vipOf(3)), 3);
});

t.test('without room for a classifier flows are tried one by one, and no memory is kept for it', async t => {
  const flows = distinct(5000);
  const without = storeOf({ limits: { ...CLASSIFIER_LIMITS, leastFlows: Number.POSITIVE_INFINITY } });
  without.images.publish(configWith(flows));
  const tight = storeOf({ arenaBytes: without.images.usedBytes + 24 * 1024 });
  tight.images.publish(configWith(flows));
  t.equal(classifierOf(tight), 0);
  t.match(tight.images.current!.warnings, [
    /^flows: each packet tries all 5000 in turn, .* 5000 prefixes and 0 /,
  ]);
  t.same(without.images.current!.warnings, [], 'who wants none is told nothing');
  t.equal(tight.images.usedBytes, without.images.usedBytes);
  t.equal(flowOfSyn(tight, vipOf(4999)), 4999);
  t.equal(flowOfSyn(tight, '20.200.0.0'), -1);
});

t.test('the size of a classifier is known before any of it is written, never as too much', t => {
  const random = new Random(1);
  for (const shape of BUILT) {
    const { core, memory } = storeOf({});
    const config = benchConfig(shape, 3000, random);
    const flows = orderedFlows(config);
    const listed = listedFlows(recordsOf(flows, config, () => 0));
    const end = memory.buffer.byteLength;
    let next = workerArea(core, 1);
    const allocate = (bytes: number) => {
      const address = next;
      next += Math.ceil(bytes / 16) * 16;
      if (next > end) throw new Error('the test has too little memory');
      return address;
    };
    const write = (freeBytes: number) =>
      writeClassifier(core, memory, listed, allocate, freeBytes, CLASSIFIER_LIMITS);
    const before = next;
    t.not(write(Number.POSITIVE_INFINITY), null);
    const bytes = next - before;
    t.not(write(bytes), null, `${shape.name}: ${bytes} bytes are enough`);
    const after = next;
    t.equal(write(bytes * 0.4), null, `${shape.name}: two fifths of them are too few`);
    t.equal(next, after, 'nothing was allocated');
  }
  t.end();
});

t.test('a classifier is freed with its image', async t => {
  const { images } = storeOf({});
  const config = configWith(distinct(300));
  images.publish(config);
  await images.retire();
  const used = images.usedBytes;
  for (let n = 0; n < 100; n++) {
    images.publish(config);
    await images.retire();
  }
  t.equal(images.usedBytes, used);
});

/** How many nodes lie on the longest way from any node of the index of destinations, by its axis of IPv4. */
function longestWay({ core, memory }: Store, classifier: number): number {
  const { Layout } = core;
  const word = (at: number) => new DataView(memory.buffer).getUint32(at, true);
  const axis = word(word(classifier + Layout.ClassifierDestinations) + Layout.IndexAxis4);
  let longest = 0;
  for (let place = 0; place < word(axis + Layout.AxisCount); place++) {
    let nodes = 0;
    for (let at = word(word(axis + Layout.AxisRows) + 4 * place); at !== 0; at = word(at + Layout.NodeParent))
      nodes++;
    longest = Math.max(longest, nodes);
  }
  return longest;
}

t.test('however deep prefixes hold one another, at most eight nodes lie on a way', async t => {
  const store = storeOf({});
  const flows = Array.from({ length: 33 }, (_, index) =>
    flowOf(`f${index}`, 's', { priority: index, vips: [prefixOf(`20.0.0.0/${index}`)] }),
  );
  store.images.publish(configWith(flows));
  const classifier = classifierOf(store);
  t.equal(longestWay(store, classifier), CLASSIFIER_LIMITS.nested);
  t.not(new DataView(store.memory.buffer).getUint32(classifier + store.core.Layout.ClassifierRest, true), 0);
  t.equal(store.images.current!.flows[flowOfSyn(store, '20.0.0.0')]!.name, 'f32');
  t.equal(store.images.current!.flows[flowOfSyn(store, '20.0.0.1')]!.name, 'f31');
  t.equal(store.images.current!.flows[flowOfSyn(store, '20.0.1.0')]!.name, 'f23');
});

t.test(
  'flows that would be copied without measure are kept once: memory stays in proportion to the configuration',
  async t => {
    const store = storeOf({ arenaBytes: 256 * 1024 * 1024 });
    const many = (count: number, byte: number) =>
      Array.from({ length: count }, (_, index) => prefixOf(`${byte}.${index >> 8}.${index & 255}.0/24`));
    // 20 flows of 2,000 destinations, 2,000 sources each: filed by destination they were 20 * 2,000 * 4,000 bounds.
    const flows = Array.from({ length: 20 }, (_, index) =>
      flowOf(`f${index}`, 's', {
        vips: many(2000, 20),
        sourceSubnets: many(2000, 100 + index),
        destinationPortRanges: [{ first: 80, last: 80 + index }],
      }),
    );
    store.images.publish(configWith(flows));
    const bounds = 20 * 2 * (2000 + 2000 + 1);
    t.ok(store.images.usedBytes < bounds * 200, `${store.images.usedBytes} bytes`);
    t.equal(flowOfSyn(store, '20.1.2.3', '105.3.2.1'), 5);
    t.equal(flowOfSyn(store, '20.1.2.3', '120.3.2.1'), -1);
  },
);

t.test(
  'a flow that was found by some of its addresses is not asked for those again, however many they are',
  async t => {
    const many = (byte: number) =>
      Array.from({ length: 1000 }, (_, index) => prefixOf(`${byte}.0.${index >> 8}.${index & 255}/32`));
    const store = storeOf({ limits: { ...CLASSIFIER_LIMITS, leastFlows: 1, crowd: 1, lessCrowded: 2 } });
    const { core, memory, images } = store;
    const ports = [
      { first: 1, last: 70 },
      { first: 80, last: 90 },
    ];
    const sources = Array.from({ length: 3 }, (_, index) => prefixOf(`102.${index}.0.0/16`));
    images.publish(
      configWith([
        flowOf('by destination', 's', {
          vips: many(20),
          sourceSubnets: sources,
          destinationPortRanges: ports,
        }),
        // Each destination is that of four flows.
        ...[0, 1, 2, 3].map(index =>
          flowOf(`by source ${index}`, 's', {
            vips: [prefixOf('21.0.0.0/16'), prefixOf('22.0.0.0/16')],
            sourceSubnets: many(110 + index),
            destinationPortRanges: ports,
          }),
        ),
      ]),
    );
    const view = new DataView(memory.buffer);
    const header = core.Region.Headers + (images.current!.generation & 1) * core.Region.HeaderSize;
    const flows = view.getUint32(header + core.Layout.HeaderFlows, true);
    // What nobody may read: the addresses that flows were found by match nothing now.
    const spoil = (flow: number, list: number) => {
      const cidrs = view.getUint32(flows + flow * core.Layout.FlowBytes + list, true);
      new Uint8Array(memory.buffer, cidrs, 1000 * core.Layout.CidrBytes).fill(0xff);
    };
    spoil(0, core.Layout.FlowDestinations);
    for (const flow of [1, 2, 3, 4]) spoil(flow, core.Layout.FlowSources);
    t.equal(flowOfSyn(store, '20.0.3.231', '102.2.0.9'), 0);
    t.equal(flowOfSyn(store, '20.0.3.231', '102.3.0.9'), -1, 'the other address counts');
    t.equal(flowOfSyn(store, '22.0.9.9', '112.0.3.231'), 3);
    t.equal(flowOfSyn(store, '23.0.9.9', '112.0.3.231'), -1, 'the other address counts');
  },
);

t.test('thousands of IPv6 sources in one block take about the time of as many of IPv4', async t => {
  const [flows, each] = [500, 40];
  const build = (prefix: (n: number) => string): number => {
    const { images } = storeOf({});
    const config = configWith(
      Array.from({ length: flows }, (_, flow) =>
        flowOf(`f${flow}`, 's', {
          vips: [prefixOf('::/0')],
          sourceSubnets: Array.from({ length: each }, (_each, n) => prefixOf(prefix(each * flow + n))),
        }),
      ),
    );
    const from = process.cpuUsage();
    images.publish(config);
    return process.cpuUsage(from).user / 1000;
  };
  // Whatever else the machine does makes some of them slow, and none fast.
  const best = (prefix: (n: number) => string): number =>
    Math.min(...Array.from({ length: 3 }, () => build(prefix)));
  const four = best(n => `20.${n >> 8}.${n & 255}.0/24`);
  // The low halves of their bounds are alike: by a hash of those alone it takes the square.
  const six = best(n => `2000:${(n >> 8).toString(16)}:${(n & 255).toString(16)}::/48`);
  t.ok(six < 10 * four, `${six.toFixed(0)} ms, IPv4 ${four.toFixed(0)}`);
});
