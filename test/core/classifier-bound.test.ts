/** The bound of a lookup that ARCHITECTURE.md states, counted in images of configurations made to exceed it. */
import t from 'tap';
import { CLASSIFIER_LIMITS } from '../../host/core/classifier.js';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { compileCore, createMemory, instantiateCore } from '../../host/core/wasm.js';
import type { Flow, Prefix } from '../../host/types/config.js';
import { Random } from '../../scripts/bench/random.js';
import { configOf, flowOf, prefixOf, streamOf } from '../fixture/config.js';

const module = compileCore();
const scout = instantiateCore(module, createMemory(0x100000));

interface Way {
  readonly nodes: number;
  readonly blocks: number;
  /** Of 64 bits, of one row of each block. */
  readonly words: number;
  /** Of one block: fields that are searched for the packet's row. */
  readonly searches: number;
  /** Flows that are tried one by one. */
  readonly tried: number;
}

/** The most that any packet can meet by destination, by source, and in the rest. */
function longestWays(flows: readonly Flow[]): { destinations: Way; sources: Way; rest: Way } {
  const memory = createMemory(memoryBytes(scout, 1, 256 * 1024 * 1024));
  const core = instantiateCore(module, memory);
  const images = new ImageStore(core, memory, 1);
  images.publish(configOf({ streams: [streamOf('s', 10, { 1: 5001 })], flows }));
  const { AxisOf, Layout, Region } = core;
  const view = new DataView(memory.buffer);
  const word = (at: number) => view.getUint32(at, true);
  const classifier = word(
    Region.Headers + (images.current!.generation & 1) * Region.HeaderSize + Layout.HeaderClassifier,
  );
  if (classifier === 0) throw new Error('the image has no classifier');

  // A packet's address is looked for among those of its family alone; both have an axis, or neither has.
  const fields = [AxisOf.DestinationPort, AxisOf.SourcePort, AxisOf.Destination4, AxisOf.Source4];
  const searchesOf = (block: number): number => {
    const axes = word(block + Layout.BlockAxes);
    return fields.filter(field => word(axes + field * Layout.AxisBytes + Layout.AxisCount) !== 0).length;
  };
  const wayOf = (first: number): Way => {
    const way = { nodes: 0, blocks: 0, words: 0, searches: 0, tried: 0 };
    for (let node = first; node !== 0; node = word(node + Layout.NodeParent)) {
      way.nodes++;
      const [blocks, count] = [word(node + Layout.NodeBlocks), word(node + Layout.NodeCount)];
      if (blocks === 0) way.tried += count;
      else
        for (let block = 0; block < count; block++) {
          const at = blocks + block * Layout.BlockBytes;
          way.blocks++;
          way.words += word(at + Layout.BlockStride) / 8 - 1;
          way.searches = Math.max(way.searches, searchesOf(at));
        }
    }
    return way;
  };
  const most = (nodes: Iterable<number>): Way => {
    const ways = [...new Set(nodes)].map(wayOf);
    const of = (key: keyof Way) => ways.reduce((sum, way) => Math.max(sum, way[key]), 0);
    return {
      nodes: of('nodes'),
      blocks: of('blocks'),
      words: of('words'),
      searches: of('searches'),
      tried: of('tried'),
    };
  };
  const indexed = (index: number): number[] => {
    const array = (at: number, count: number) => Array.from(new Uint32Array(memory.buffer, at, count));
    const axes = [word(index + Layout.IndexAxis4), word(index + Layout.IndexAxis6)];
    return [
      ...array(word(index + Layout.IndexSlots), word(index + Layout.IndexSlotMask) + 1),
      ...axes.flatMap(axis => array(word(axis + Layout.AxisRows), word(axis + Layout.AxisCount))),
    ];
  };
  return {
    destinations: most(indexed(word(classifier + Layout.ClassifierDestinations))),
    sources: most(indexed(word(classifier + Layout.ClassifierSources))),
    rest: most([word(classifier + Layout.ClassifierRest)]),
  };
}

/** Prefixes of all lengths that hold one address. */
function nested(random: Random, near: readonly string[]): Prefix {
  const address = random.pick(near);
  return address.includes(':')
    ? prefixOf(`${address}/${random.below(129)}`)
    : prefixOf(`${address}/${random.below(33)}`);
}

const NEAR = ['20.0.0.1', '20.0.0.1', '255.255.255.255', '2000::1', '::ffff:1400:1', '::'];

function flowsOf(random: Random, count: number): Flow[] {
  const shape = {
    destinations: random.pick([1, 1, 3, 20]),
    sources: random.pick([0, 1, 3, 20]),
    ranges: random.pick([0, 1, 20]),
    near: random.list(1, 4, () => random.pick(NEAR)),
    isCrowded: random.chance(2),
  };
  const ranges = () =>
    random.list(0, shape.ranges, () => {
      const first = 1 + random.below(65_535);
      return { first, last: Math.min(65_535, first + random.below(random.pick([1, 100, 60_000]))) };
    });
  return Array.from({ length: count }, (_, index) =>
    flowOf(`f${index}`, 's', {
      priority: random.below(random.pick([1, 10, 100_000])),
      vips: shape.isCrowded
        ? [prefixOf(random.pick(['20.0.0.1/32', '20.0.0.0/24', '::/0']))]
        : random.list(1, shape.destinations, () => nested(random, shape.near)),
      sourceSubnets: random.list(0, shape.sources, () =>
        random.chance(2)
          ? nested(random, shape.near)
          : prefixOf(`10.${random.below(256)}.${random.below(256)}.0/24`),
      ),
      destinationPortRanges: ranges(),
      sourcePortRanges: ranges(),
    }),
  );
}

t.test('no way through a classifier is longer than the bound, whatever the configuration', async t => {
  const seed = Math.floor(Math.random() * 2 ** 30);
  t.comment(`seed ${seed}`);
  const random = new Random(seed);
  const seen = { nodes: 0, sources: 0, rest: 0, blocks: 0 };
  for (let round = 0; round < 12; round++) {
    const count = random.pick([40, 700, 3000, 6000]);
    const { destinations, sources, rest } = longestWays(flowsOf(random, count));
    const all = [destinations, sources, rest];
    const sum = (key: keyof Way) => all.reduce((total, way) => total + way[key], 0);
    const told = `round ${round}, ${count} flows: ${JSON.stringify(all)}`;
    for (const { nodes } of [destinations, sources])
      if (nodes > CLASSIFIER_LIMITS.nested) t.fail(`nodes, ${told}`);
    for (const { searches } of [destinations, sources]) if (searches > 3) t.fail(`searches, ${told}`);
    if (rest.nodes > 1) t.fail(`nodes of the rest, ${told}`);
    if (sum('blocks') > count / CLASSIFIER_LIMITS.smallBlock + sum('nodes')) t.fail(`blocks, ${told}`);
    if (sum('words') > count / 64 + sum('blocks')) t.fail(`words, ${told}`);
    if (sum('tried') > CLASSIFIER_LIMITS.listedFlows * sum('nodes')) t.fail(`tried, ${told}`);
    seen.nodes = Math.max(seen.nodes, destinations.nodes);
    seen.sources += sources.nodes;
    seen.rest += rest.nodes;
    seen.blocks = Math.max(seen.blocks, sum('blocks'));
  }
  t.comment(JSON.stringify(seen));
  t.ok(seen.nodes > 1, 'prefixes were nested');
  t.ok(seen.rest > 0, 'flows were left for the rest');
  t.ok(seen.blocks > 1, 'there were blocks');
});

t.test('a block is searched for its ports and the other address, in the rest for both', async t => {
  const flow = (vip: string, index: number) =>
    flowOf(`f${index}`, 's', {
      vips: [prefixOf(vip)],
      sourceSubnets: [prefixOf(`10.0.${index}.0/24`)],
      destinationPortRanges: [{ first: 1 + index, last: 100 }],
      sourcePortRanges: [{ first: 2, last: 200 + index }],
    });
  const flows = [
    ...Array.from({ length: 20 }, (_, index) => flow('20.0.0.1/32', index)),
    // More than may hold one another.
    ...Array.from({ length: 32 }, (_, index) => flow(`40.0.0.1/${index + 1}`, 20 + index)),
  ];
  const { destinations, rest } = longestWays(flows);
  t.equal(destinations.searches, 3);
  t.equal(rest.searches, 4);
});
