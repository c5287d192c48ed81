/** What a reader that does not read takes of the memory. */
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { MOST_WAITING_BYTES, waitingBytes } from '../../host/trace/reader.js';
import { Tracer } from '../../host/trace/tracer.js';
import type { CapturedTrace } from '../../host/types/trace.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { ip, TCP, transport } from '../fixture/packet.js';
import { Decider } from './decider.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const CONFIG = configOf({ streams: [streamOf('s', 10, { 1: 5001 })], flows: [flowOf('f', 's')] });
const SNAP_LENGTH = 512;
/** Of all readers. The bound of a record is an estimate: a quarter more is allowed. */
const MOST_GROWTH_BYTES = 1.25 * 8 * MOST_WAITING_BYTES;

function usedBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

for (const payload of [0, SNAP_LENGTH])
  t.test(`as many readers as are possible, none of which reads, with ${payload} bytes a packet`, async t => {
    const decider = new Decider(CONFIG);
    const tracer = new Tracer({ images: decider.images, firstQueue: 0, ringBytes: 1024 * 1024 });
    const header = ip('2001:db8:1111:2222:3333:4444:5555:6666', '2000::1', TCP, transport(TCP, 1000, 80));
    const packet = new Uint8Array(Math.max(payload, header.length));
    packet.set(header);
    const batch = Array.from({ length: 64 }, () => packet);
    const before = usedBytes();
    const readers = await Promise.all(
      Array.from({ length: decider.core.Limit.Taps }, () => tracer.open({ flows: [], snapLength: payload })),
    );
    let offered = 0;
    // More than 8,192, which an earlier bound let wait.
    for (; offered < 10_000 || readers.some(({ lost }) => lost === 0); await delay(10))
      for (let n = 0; n < 4; n++, offered += batch.length) decider.decide(batch);
    const growth = usedBytes() - before;
    t.comment(`${Math.round(growth / 1024)} KiB`);
    t.ok(growth < MOST_GROWTH_BYTES, `${growth} bytes`);
    for (const reader of readers) {
      await reader.close();
      const sizes: number[] = [];
      let given = 0;
      for await (const packets of reader) {
        given += packets.length;
        sizes.push(bytesOf(packets));
      }
      t.equal(given + reader.lost, offered, 'what it lost is counted exactly');
      t.ok(Math.max(...sizes) < 2 * 65_536, 'it gets a little at once');
    }
  });

function bytesOf(packets: readonly CapturedTrace[]): number {
  return packets.reduce((sum, { packet }) => sum + waitingBytes(packet.length), 0);
}
