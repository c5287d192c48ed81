import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createConnection } from 'node:net';
import t from 'tap';
import { type Answers, MetricsServer } from '../../host/metrics/server.js';
import type { ListenAddress } from '../../host/types/config.js';
import { type Judgement, judgementOf } from '../../host/types/health.js';
import { readExposition } from './exposition-reader.js';
import { observationOf } from './observation.js';

const WELL = judgementOf([{ name: 'workers', ok: true, detail: 'all' }]);
const ILL = judgementOf([{ name: 'targets', ok: false, detail: 'none' }]);
const done = async (): Promise<void> => undefined;

function answersOf(more: Partial<Answers> = {}): Answers {
  return { observe: () => observationOf(), alive: () => WELL, ready: () => ILL, ...more };
}

function at(port: number, address: string | null = '127.0.0.1'): ListenAddress {
  return { host: address === null ? null : { family: address.includes(':') ? 6 : 4, address }, port };
}

/** A port that nobody has. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function get(port: number, path: string, method = 'GET') {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, keepalive: false });
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() };
}

function refused(port: number): Promise<boolean> {
  return get(port, '/healthz').then(
    () => false,
    () => true,
  );
}

async function started(
  more: Partial<Answers> = {},
): Promise<{ server: MetricsServer; port: number; errors: Error[] }> {
  const errors: Error[] = [];
  const server = new MetricsServer(error => errors.push(error));
  const port = await freePort();
  await server.during(at(port), done);
  server.answers = answersOf(more);
  t.teardown(() => server.stop());
  return { server, port, errors };
}

t.test('each path has its answer', async t => {
  const { port, errors } = await started();
  const metrics = await get(port, '/metrics');
  t.equal(metrics.status, 200);
  t.equal(metrics.type, 'text/plain; version=0.0.4; charset=utf-8');
  t.ok(readExposition(metrics.text).size > 20);
  const health = await get(port, '/healthz?verbose');
  t.equal(health.status, 200);
  t.strictSame(JSON.parse(health.text) as Judgement, WELL);
  const ready = await get(port, '/readyz');
  t.equal(ready.status, 503);
  t.strictSame(JSON.parse(ready.text) as Judgement, ILL);
  t.match(await get(port, '/'), {
    status: 404,
    text: 'there is no /; there are /metrics, /healthz, /readyz\n',
  });
  t.match(await get(port, '/metrics', 'POST'), { status: 405 });
  t.match(await get(port, '/metrics', 'HEAD'), { status: 200, text: '' });
  t.strictSame(errors, []);
});

t.test('before everything stands it is alive and not ready', async t => {
  const { server, port } = await started();
  server.answers = null;
  t.equal((await get(port, '/healthz')).status, 200);
  t.equal((await get(port, '/readyz')).status, 503);
  t.match(await get(port, '/metrics'), { status: 503, text: 'magmark is starting\n' });
});

t.test('what is no HTTP, and an observation that fails, end nothing', async t => {
  const { port, errors } = await started({
    observe: () => {
      throw new Error('broken');
    },
  });
  const socket = createConnection(port, '127.0.0.1');
  socket.write('GET // nonsense\r\n\r\n');
  await once(socket.resume(), 'close');
  t.match(await get(port, '//'), { status: 404 });
  t.match(await get(port, '/metrics'), { status: 500, text: 'broken\n' });
  t.match(errors, [{ message: 'broken' }]);
  t.equal((await get(port, '/healthz')).status, 200);
});

t.test('a change of address takes effect with the change that brings it, and only then', async t => {
  const { server, port } = await started();
  const other = await freePort();
  await t.rejects(
    server.during(at(other), async () => {
      t.equal((await get(other, '/healthz')).status, 200, 'it could be had');
      throw new Error('refused');
    }),
    /refused/,
  );
  t.ok(await refused(other));
  t.equal((await get(port, '/healthz')).status, 200, 'it stays where it was');
  await server.during(at(other), done);
  t.ok(await refused(port));
  t.equal((await get(other, '/healthz')).status, 200);
  await server.during(null, done);
  t.ok(await refused(other));
});

t.test('the same port is had on other addresses, and again where that fails', async t => {
  const { server, port } = await started();
  await t.rejects(
    server.during(at(port, null), async () => {
      throw new Error('refused');
    }),
    /refused/,
  );
  t.equal((await get(port, '/healthz')).status, 200);
  await server.during(at(port, null), done);
  t.equal((await get(port, '/healthz')).status, 200);
  // RFC 5737: nobody has it.
  await t.rejects(server.during(at(port, '192.0.2.1'), done), {
    code: 'ENVIRONMENT',
    message: new RegExp(`^metrics.address: listen on 192.0.2.1:${port}: .*EADDRNOTAVAIL`),
  });
  t.equal((await get(port, '/healthz')).status, 200);
});

t.test('a port that is taken is refused before the change begins', async t => {
  const { port } = await started();
  const second = new MetricsServer(error => t.fail(error.message));
  let begun = false;
  await t.rejects(
    second.during(at(port), async () => {
      begun = true;
    }),
    { code: 'CLASH', message: `metrics.address: 127.0.0.1:${port} is taken: something else listens there` },
  );
  t.notOk(begun);
});
