import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { TraceLine } from '../../host/control/api.js';
import { ask, follow } from '../../host/control/client.js';
import { ControlServer } from '../../host/control/server.js';
import { traceRoutes } from '../../host/trace/routes.js';
import { Tracer } from '../../host/trace/tracer.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { ip, TCP, transport } from '../fixture/packet.js';
import { until } from '../queue/namespace.js';
import { Decider } from './decider.js';

const directory = mkdtempSync(join(tmpdir(), 'magmark-trace-'));
t.teardown(() => rmSync(directory, { recursive: true }));
const CONFIG = configOf({ streams: [streamOf('s', 10, { 1: 5001 })], flows: [flowOf('f', 's')] });
const packet = ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, 1000, 80));

async function serve() {
  const decider = new Decider(CONFIG);
  const tracer = new Tracer({ images: decider.images, firstQueue: 0 });
  const socket = join(directory, `${Math.random()}.sock`);
  const errors: Error[] = [];
  const server = await ControlServer.start(socket, error => errors.push(error));
  server.routes = traceRoutes(tracer, decider.core.Limit.ReadBytes, error => t.fail(error.message));
  return { decider, socket, server, errors };
}

/** Lines of an answer, as they come. */
async function* lines(chunks: AsyncIterable<Buffer>): AsyncGenerator<TraceLine> {
  let rest = '';
  for await (const chunk of chunks) {
    const parts = (rest + chunk.toString()).split('\n');
    rest = parts.pop()!;
    for (const part of parts) yield JSON.parse(part) as TraceLine;
  }
}

t.test(
  'a trace begins with its reader, which is ended by its number, and ends with what was lost',
  async t => {
    const { decider, socket, server, errors } = await serve();
    const stream = lines(follow(socket, '/v1/trace?snaplen=24'));
    const first = (await stream.next()).value as TraceLine;
    t.match(first, { type: 'reader', reader: 1 });
    decider.decide([packet, packet]);
    // What is on its way when the end is asked for is told.
    await ask(socket, '/v1/trace/end', JSON.stringify({ reader: 1 }));
    const rest: TraceLine[] = [];
    for await (const line of stream) rest.push(line);
    t.match(rest, [
      { type: 'packet', packet: Buffer.from(packet.subarray(0, 24)).toString('base64') },
      { type: 'packet' },
      { type: 'end', lost: 0 },
    ]);
    t.notOk(decider.watched);
    await t.rejects(ask(socket, '/v1/trace/end', '{"reader": 9}'), /no such reader/);
    await t.rejects(ask(socket, '/v1/trace/end', 'x'), /the body is not/);
    await server.stop();
    t.strictSame(errors, []);
  },
);

t.test('a trace of so many packets ends by itself', async t => {
  const { decider, socket, server } = await serve();
  const stream = lines(follow(socket, '/v1/trace?count=3&protocols=tcp'));
  await stream.next();
  decider.decide([packet, packet, packet, packet, packet]);
  const rest: string[] = [];
  for await (const line of stream) rest.push(line.type);
  t.strictSame(rest, ['packet', 'packet', 'packet', 'end']);
  await until('the workers are told', () => !decider.watched);
  await server.stop();
});

t.test('what cannot be asked is refused with its reason, and nobody watches', async t => {
  const { decider, socket, server } = await serve();
  for (const [query, reason] of [
    ['dst=1.2.3.4/32', /there is no option dst/],
    ['dsts=1.2.3.4', /dsts: 1\.2\.3\.4 has no prefix length/],
    ['snaplen=513', /snaplen: 513 is not a whole number from 0 to 512/],
    ['count=0', /count: 0 is not/],
  ] as const)
    await t.rejects(follow(socket, `/v1/trace?${query}`).next(), { code: 'CONTROL_FAILED', message: reason });
  t.notOk(decider.watched);
  await server.stop();
});

t.test('a client that goes away is no reader any more', async t => {
  const { decider, socket, server, errors } = await serve();
  const gone = new AbortController();
  const stream = lines(follow(socket, '/v1/trace', gone.signal));
  await stream.next();
  t.ok(decider.watched);
  gone.abort();
  await until('the workers are told', () => !decider.watched);
  await server.stop();
  t.strictSame(errors, []);
});

t.test('a client that does not read holds up nobody, and is told exactly how many it lost', async t => {
  const { decider, socket, server } = await serve();
  const outgoing = request({ socketPath: socket, path: '/v1/trace', agent: false });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const other = lines(follow(socket, '/v1/trace?count=1000'));
  await other.next();
  const batch = Array.from({ length: 64 }, () => packet);
  let offered = 0;
  for (let n = 0; n < 600; n++, offered += batch.length) {
    decider.decide(batch);
    if (n % 16 === 0) await delay(10);
  }
  let told = 0;
  for await (const line of other) if (line.type === 'packet') told++;
  t.equal(told, 1000, 'another one reads meanwhile');
  await ask(socket, '/v1/trace/end', '{"reader": 1}');
  let packets = 0;
  let last: TraceLine | null = null;
  for await (const line of lines(response)) {
    if (line.type === 'packet') packets++;
    last = line;
  }
  t.comment(`${offered} offered, ${packets} told`);
  t.ok(packets < offered);
  t.strictSame(last, { type: 'end', lost: offered - packets });
  await server.stop();
});
