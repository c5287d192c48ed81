/** Flows are written once as long as they stay the same, whatever becomes of targets. */
import t from 'tap';
import { Arena } from '../../host/core/arena.js';
import { CLASSIFIER_LIMITS } from '../../host/core/classifier.js';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { writeFlows } from '../../host/core/image-flows.js';
import { orderedFlows, recordsOf } from '../../host/core/image-parts.js';
import { compileCore, createMemory, instantiateCore } from '../../host/core/wasm.js';
import type { Config, Flow, Prefix } from '../../host/types/config.js';
import { ImageError } from '../../host/types/errors.js';
import { configOf, flowOf, prefixOf, streamOf } from '../fixture/config.js';

const module = compileCore();
const scout = instantiateCore(module, createMemory(0x100000));

function storeOf(arenaBytes: number) {
  const memory = createMemory(memoryBytes(scout, 1, arenaBytes));
  const core = instantiateCore(module, memory);
  const images = new ImageStore(core, memory, 1, CLASSIFIER_LIMITS);
  const view = new DataView(memory.buffer);
  /** Where the published image has its flows and their classifier. */
  const places = () => {
    const { Layout, Region } = core;
    const header = Region.Headers + (images.current!.generation & 1) * Region.HeaderSize;
    return [Layout.HeaderFlows, Layout.HeaderFlowCount, Layout.HeaderClassifier].map(field =>
      view.getUint32(header + field, true),
    );
  };
  return { images, places };
}

const MIB = 1024 * 1024;
const STREAMS = [streamOf('a', 10, { 1: 5001, 2: 5002 }), streamOf('b', 10, { 1: 6001 })];

function flowsOf(count: number, vips: (index: number) => Prefix[]): Flow[] {
  return Array.from({ length: count }, (_, index) =>
    flowOf(`f${index}`, index % 2 === 0 ? 'a' : 'b', { vips: vips(index) }),
  );
}

const oneVip = (index: number) => [prefixOf(`20.0.${index >> 8}.${index & 255}/32`)];

const FEW: Config = configOf({ streams: STREAMS, flows: flowsOf(3, oneVip) });
const MANY: Config = configOf({ streams: STREAMS, flows: flowsOf(300, oneVip) });

for (const [claim, config] of [
  ['few flows', FEW],
  ['flows with a classifier', MANY],
] as const)
  t.test(`${claim} stay where they are when targets come and go`, async t => {
    const { images, places } = storeOf(8 * MIB);
    images.publish(config);
    await images.retire();
    const [first, used] = [places(), images.usedBytes];
    for (let change = 0; change < 4; change++) {
      images.publish(config, (_, target) => target.fwmark !== 5001 || change % 2 === 0);
      t.strictSame(places(), first);
      await images.retire();
    }
    images.publish({ ...config, streams: [streamOf('a', 10, { 3: 5003 }), STREAMS[1]!] });
    t.strictSame(places(), first, 'also in a stream with other targets');
    await images.retire();
    images.publish(config);
    await images.retire();
    t.equal(images.usedBytes, used, 'nothing is lost');
  });

t.test(
  'other flows, or streams in another order, are written anew, and the former ones are freed',
  async t => {
    const { images, places } = storeOf(8 * MIB);
    images.publish(MANY);
    await images.retire();
    const used = images.usedBytes;
    const others: Config[] = [
      { ...MANY, flows: [...MANY.flows] },
      { ...MANY, streams: STREAMS.toReversed() },
      { ...MANY, streams: [...STREAMS, streamOf('c', 10, {})] },
    ];
    for (const other of others) {
      const [before] = places();
      images.publish(other);
      t.not(places()[0], before);
      await images.retire();
      images.publish(MANY);
      await images.retire();
      t.equal(images.usedBytes, used, 'nothing is lost');
    }
  },
);

t.test('an image that is refused leaves the flows of the published one', async t => {
  const { images, places } = storeOf(MIB);
  images.publish(MANY);
  await images.retire();
  const [first, used] = [places(), images.usedBytes];
  const large = { ...MANY, streams: [STREAMS[0]!, streamOf('b', 10, { 1: 6001 }, 1_000_003)] };
  t.throws(() => images.publish(large), ImageError);
  t.strictSame([places(), images.usedBytes], [first, used]);
  images.publish(MANY, () => false);
  t.strictSame(places(), first);
});

/** What takes more than half of the memory. */
const large = (count: number): Config =>
  configOf({
    streams: STREAMS,
    flows: flowsOf(count, index =>
      Array.from({ length: 20 }, (_, part) => prefixOf(`20.${part}.${index >> 8}.${index & 255}/32`)),
    ),
  });

t.test('flows that fit the memory once keep their classifier through every change of targets', async t => {
  const { images, places } = storeOf(3 * MIB);
  const config = large(1000);
  t.strictSame(images.publish(config).warnings, []);
  t.ok(images.usedBytes > 1.5 * MIB, `${images.usedBytes} bytes: they would not fit twice`);
  await images.retire();
  const [, , classifier] = places();
  t.not(classifier, 0);
  for (let change = 0; change < 3; change++) {
    const { warnings } = images.publish(config, (_, target) => target.fwmark !== 5001 + (change % 2));
    t.strictSame(warnings, []);
    t.equal(places()[2], classifier);
    await images.retire();
  }
});

t.test('flows that found no room for their classifier have one when there is room', async t => {
  const { images, places } = storeOf(4 * MIB);
  images.publish(large(1000));
  await images.retire();
  const next = large(1000);
  t.match(images.publish(next).warnings, [/does not fit the core's memory/]);
  t.equal(places()[2], 0);
  await images.retire();
  t.strictSame(images.publish(next, () => false).warnings, []);
  t.not(places()[2], 0);
});

t.test('flows that stay are refused for no want of room, where they would not fit twice', async t => {
  const { images } = storeOf(1.5 * MIB);
  const config = configOf({
    streams: STREAMS,
    flows: flowsOf(3, index =>
      Array.from({ length: 9000 }, (_, part) => prefixOf(`20.${index}.${part >> 7}.${2 * (part & 127)}/32`)),
    ),
  });
  images.publish(config);
  await images.retire();
  t.ok(images.usedBytes > 0.75 * MIB, `${images.usedBytes} bytes`);
  images.publish(config, () => false);
  await images.retire();
  t.throws(() => images.publish({ ...config, flows: [...config.flows] }), ImageError);
});

/** One that is full after so many pieces. */
class FullAfter extends Arena {
  constructor(
    public left: number,
    ...range: readonly [start: number, end: number]
  ) {
    super(...range);
  }

  override allocate(bytes: number): number {
    if (this.left-- === 0) throw new ImageError('full');
    return super.allocate(bytes);
  }
}

t.test('wherever the memory ends, nothing of what was begun stays', async t => {
  const memory = createMemory(memoryBytes(scout, 1, 8 * MIB));
  const core = instantiateCore(module, memory);
  const records = recordsOf(orderedFlows(MANY), MANY, () => 0);
  const seen = { refused: 0, withoutClassifier: 0 };
  for (let pieces = 0, isWhole = false; !isWhole; pieces++) {
    const arena = new FullAfter(pieces, memory.buffer.byteLength - 8 * MIB, memory.buffer.byteLength);
    try {
      const written = writeFlows({ core, memory, arena, limits: CLASSIFIER_LIMITS }, MANY, records);
      isWhole = written.classifier !== 0;
      if (!isWhole) seen.withoutClassifier++;
      for (const address of written.addresses) arena.free(address);
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      seen.refused++;
    }
    t.equal(arena.used, 0, `after ${pieces} pieces`);
  }
  t.ok(seen.refused > 0 && seen.withoutClassifier > 0, JSON.stringify(seen));
});
