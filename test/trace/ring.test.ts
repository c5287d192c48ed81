import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Tracer } from '../../host/trace/tracer.js';
import type { CapturedTrace } from '../../host/types/trace.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { ip, TCP, transport } from '../fixture/packet.js';
import { until } from '../queue/namespace.js';
import { Decider } from './decider.js';
import type { HammerData } from './hammer.js';

const CONFIG = configOf({ streams: [streamOf('s', 10, { 1: 5001, 4: 5004 })], flows: [flowOf('f', 's')] });
const packet = (port: number) => ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, port, 80));
const collect = async (reader: AsyncIterable<readonly CapturedTrace[]>): Promise<CapturedTrace[]> => {
  const all: CapturedTrace[] = [];
  for await (const batch of reader) all.push(...batch);
  return all;
};

t.test('a ring that nobody empties keeps its oldest records and counts exactly what it lost', async t => {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0, ringBytes: 4096 });
  const reader = await tracer.open({ flows: [], snapLength: 0 });
  const { RecordPacket } = decider.core.Layout;
  const fit = Math.floor(4096 / RecordPacket);
  // In one turn of the event loop: the tracer cannot look.
  for (let n = 0; n < 10; n++)
    decider.decide(Array.from({ length: 10 }, (_, k) => packet(1000 + n * 10 + k)));
  await reader.close();
  const packets = await collect(reader);
  t.equal(packets.length, fit);
  t.strictSame(
    packets.map(each => each.sourcePort),
    Array.from({ length: fit }, (_, n) => 1000 + n),
  );
  t.equal(reader.lost, 100 - fit);
});

t.test('records wrap around at every place, whole, and gaps in their numbers are what was lost', async t => {
  for (const length of [0, 1, 7, 40, 200, 512]) {
    const decider = new Decider(CONFIG);
    const tracer = new Tracer({ images: decider.images, firstQueue: 3, ringBytes: 2048 });
    const reader = await tracer.open({ flows: [], snapLength: length });
    const bytes = Uint8Array.from([...packet(7), ...new Array<number>(700).fill(9)]);
    // The total length that the header states.
    bytes.set([bytes.length >> 8, bytes.length & 255], 2);
    const collected = collect(reader);
    for (let round = 0; round < 40; round++) {
      decider.decide(Array.from({ length: 1 + (round % 5) }, () => bytes));
      if (round % 3 === 0) await new Promise(resolve => setTimeout(resolve, 12));
    }
    await reader.close();
    const packets = await collected;
    t.equal(packets.length + reader.lost, 120, `${length} bytes: all are told or lost`);
    t.ok(packets.length > 5, 'several rounds of the ring');
    t.ok(packets.every(each => Buffer.from(each.packet).equals(bytes.subarray(0, length))));
    t.ok(packets.every(each => each.length === bytes.length && each.queue === 3));
    const numbers = packets.map(each => each.sequence);
    t.strictSame(
      numbers,
      [...new Set(numbers)].sort((one, other) => one - other),
    );
  }
});

t.test(
  'two workers at full speed and a main thread that reads: no record is torn, none is uncounted',
  async t => {
    const workers = 2;
    const decider = new Decider(CONFIG, workers);
    const tracer = new Tracer({ images: decider.images, firstQueue: 0, ringBytes: 32 * 1024 });
    const reader = await tracer.open({ flows: [], snapLength: 512 });
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const length = 128;
    const threads = Array.from({ length: workers }, (_, index) => {
      const { module } = decider;
      const workerData: HammerData = { module, memory: decider.images.memory, index, stop, length };
      return new Worker(new URL('./hammer.js', import.meta.url), { workerData });
    });
    const offered = threads.map(async thread => (await once(thread, 'message'))[0] as number);
    let torn = 0;
    let told = 0;
    let last = [-1, -1];
    const check = async (): Promise<void> => {
      for await (const batch of reader) {
        for (const { packet: bytes, queue, sequence, source, reason, identifier } of batch) {
          told++;
          const view = Buffer.from(bytes.buffer);
          const number = view.readUInt32BE(12);
          const whole =
            view.length === length &&
            view.subarray(24).every((byte, at) => byte === view[12 + (at % 4)]) &&
            sequence === number &&
            source === view.subarray(12, 16).join('.') &&
            reason === 'ok' &&
            identifier !== null &&
            number > last[queue]!;
          if (!whole) torn++;
          last = last.map((each, index) => (index === queue ? number : each));
        }
      }
    };
    const checked = check();
    await until('many are told and some lost', () => told > 20_000 && reader.lost > 0, undefined, 30_000);
    Atomics.store(stop, 0, 1);
    const total = (await Promise.all(offered)).reduce((sum, each) => sum + each, 0);
    await reader.close();
    await checked;
    t.comment(`${total} offered, ${told} told, ${reader.lost} lost`);
    t.equal(torn, 0);
    t.equal(told + reader.lost, total);
  },
);
