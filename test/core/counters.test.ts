/** What the core counts of its decisions, and that the counts outlive images. */
import t from 'tap';
import {
  batchBounds,
  batchSizes,
  decisionBounds,
  decisionTimes,
  reasonCounts,
  verdictCounts,
} from '../../host/core/counters.js';
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { targetKey } from '../../host/core/image-parts.js';
import { reasonNames } from '../../host/core/reason.js';
import { compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import type { Config } from '../../host/types/config.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { ip, TCP, transport } from '../fixture/packet.js';

const module = compileCore();
const WORKERS = 2;

function benchOf(config: Config) {
  const scout = instantiateCore(module, createMemory(0x100000));
  const memory = createMemory(memoryBytes(scout, WORKERS, 8 * 1024 * 1024));
  const core = instantiateCore(module, memory);
  const images = new ImageStore(core, memory, WORKERS);
  images.publish(config);
  const view = new DataView(memory.buffer);
  const names = reasonNames(core);
  return {
    core,
    memory,
    images,
    /** Decide one batch of packets to these ports, each of `40 + n` bytes on the wire. @returns indexes of their targets */
    decide(worker: number, ports: readonly number[]): number[] {
      const area = workerArea(core, worker);
      const descriptor = (n: number) => area + core.Region.WorkerDescriptors + n * core.Region.DescriptorSize;
      ports.forEach((port, n) => {
        const packet = ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, 1000 + n, port, new Array(n).fill(0)));
        const at = area + core.Region.WorkerPackets + n * core.Region.PacketSize;
        new Uint8Array(memory.buffer).set(packet, at);
        view.setUint32(descriptor(n) + core.Layout.DescriptorOffset, at, true);
        view.setUint32(descriptor(n) + core.Layout.DescriptorLength, packet.length, true);
        view.setUint32(descriptor(n) + core.Layout.DescriptorWireLength, packet.length, true);
      });
      core.decide(area, 0, ports.length);
      core.rest(area);
      return ports.map((_, n) => view.getUint32(descriptor(n) + core.Layout.DescriptorTarget, true));
    },
    /** Those above 0: `verdict reason` to [packets, bytes]. */
    counts(worker: number): Record<string, [number, number]> {
      return Object.fromEntries(
        verdictCounts(core, memory, worker)
          .filter(({ packets }) => packets > 0)
          .map(({ verdict, reason, packets, bytes }) => [`${verdict} ${names[reason]}`, [packets, bytes]]),
      );
    },
  };
}

const port = (number: number) => [{ first: number, last: number }];
const CONFIG = configOf({
  streams: [streamOf('a', 10, { 1: 5001, 2: 5002, 3: 5003 }), streamOf('empty', 10, {})],
  flows: [
    flowOf('web', 'a', { protocols: ['tcp'], destinationPortRanges: port(80) }),
    flowOf('nobody', 'empty', { protocols: ['tcp'], destinationPortRanges: port(81) }),
  ],
});

t.test('packets and bytes are counted by the verdict that they got, and why', t => {
  const bench = benchOf(CONFIG);
  bench.decide(0, [80, 80, 81, 82]);
  bench.decide(1, [82]);
  t.strictSame(bench.counts(0), {
    'accept ok': [2, 40 + 41],
    'drop no-target': [1, 42],
    'drop no-flow': [1, 43],
  });
  t.strictSame(bench.counts(1), { 'drop no-flow': [1, 40] });
  // The same reasons have the other verdict from here on; what was counted stays what it was.
  bench.images.publish({ ...CONFIG, noFlowFwmark: 0, noTargetsFwmark: 7 });
  bench.decide(0, [82, 81, 81]);
  t.strictSame(bench.counts(0), {
    'accept ok': [2, 81],
    'drop no-target': [1, 42],
    'drop no-flow': [1, 43],
    'accept no-flow': [1, 40],
    'accept no-target': [2, 41 + 42],
  });
  const { Reason } = bench.core;
  const reasons = reasonCounts(bench.core, bench.memory, 0);
  t.strictSame([reasons[Reason.Ok], reasons[Reason.NoFlow], reasons[Reason.NoTarget]], [2, 2, 3]);
  t.end();
});

t.test('a target counts in all workers and through all images, as long as it is configured', async t => {
  const bench = benchOf(CONFIG);
  const [stream] = CONFIG.streams;
  const expected = new Map<number, number>();
  const decide = (worker: number, ports: readonly number[]) => {
    for (const index of bench.decide(worker, ports))
      if (index !== 0xffffffff) expected.set(index + 1, (expected.get(index + 1) ?? 0) + 1);
  };
  const agree = (claim: string) =>
    t.strictSame(
      stream!.targets.map(target => bench.images.targetCounters.read(targetKey(stream!, target))),
      stream!.targets.map(target => expected.get(target.identifier) ?? 0),
      claim,
    );
  const many = Array.from({ length: 64 }, (_, n) => (n % 8 === 0 ? 82 : 80));
  decide(0, many);
  decide(1, many);
  agree('packets without a target are no target’s');
  t.ok([...expected.values()].reduce((sum, count) => sum + count, 0) === 112);
  // Target 1 takes no traffic, and is still configured; then all do again.
  bench.images.publish(CONFIG, (_, target) => target.identifier !== 1);
  await bench.images.retire();
  const before = expected.get(1);
  decide(0, many);
  t.equal(expected.get(1), before, 'it gets nothing');
  agree('what it has got stays');
  bench.images.publish(CONFIG);
  await bench.images.retire();
  decide(0, many);
  agree('it goes on');
  bench.images.publish(
    configOf({ ...CONFIG, streams: [streamOf('a', 10, { 2: 5002 }), CONFIG.streams[1]!] }),
  );
  await bench.images.retire();
  const gone = stream!.targets[0]!;
  t.equal(bench.images.targetCounters.read(targetKey(stream!, gone)), 0, 'gone with its target');
  bench.images.publish(CONFIG);
  await bench.images.retire();
  expected.delete(1);
  expected.delete(3);
  agree('a target that comes back begins anew, the one that stayed goes on');
});

t.test('batches are counted by their size', t => {
  const bench = benchOf(CONFIG);
  const sizes = [1, 1, 2, 3, 4, 5, 8, 9, 33, 64];
  for (const size of sizes) bench.decide(0, new Array(size).fill(80));
  bench.decide(0, []);
  t.strictSame(batchBounds(bench.core), [1, 2, 4, 8, 16, 32, 64]);
  t.strictSame(batchSizes(bench.core, bench.memory, 0), [2, 1, 2, 2, 1, 0, 2]);
  t.end();
});

t.test('timed decisions fall into the first bound that is not below them', t => {
  const bench = benchOf(CONFIG);
  const { core, memory } = bench;
  const bounds = decisionBounds(core);
  t.equal(bounds[0], 256e-9);
  t.equal(bounds.length, core.Limit.DecisionTimes - 1);
  const area = workerArea(core, 1);
  let seconds = 0;
  const expected = new Array<number>(core.Limit.DecisionTimes).fill(0);
  for (const nanoseconds of [0, 1, 255, 256, 257, 512, 513, 1e6, 2 ** 22, 2 ** 22 + 1, 0xffffffff]) {
    core.timed(area, 3, nanoseconds);
    seconds += nanoseconds / 1e9;
    const place = bounds.findIndex(bound => nanoseconds / 1e9 <= bound);
    expected[place < 0 ? bounds.length : place]!++;
  }
  const times = decisionTimes(core, memory, 1);
  t.strictSame(times.counts, expected);
  t.equal(times.packets, 33);
  t.ok(Math.abs(times.seconds - seconds) < 1e-9);
  t.end();
});
