import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createConnection, type Socket } from 'node:net';
import t from 'tap';
import { boundConnections } from '../../host/metrics/connections.js';
import { readFirstRequests } from '../../host/metrics/first-request.js';
import { Rendering } from '../../host/metrics/rendering.js';
import { type Answers, type MetricsLimits, MetricsServer } from '../../host/metrics/server.js';
import type { ListenAddress } from '../../host/types/config.js';
import { type Judgement, judgementOf } from '../../host/types/health.js';
import { until } from '../queue/namespace.js';
import { readExposition } from './exposition-reader.js';
import { observationOf } from './observation.js';

const WELL = judgementOf([{ name: 'workers', ok: true, detail: 'all' }]);
const ILL = judgementOf([{ name: 'targets', ok: false, detail: 'none' }]);
/** Alone on a machine; this process is client, attacker and server. */
const HEALTH_MS = 1000;
const SCRAPE_MS = 2000;
const SLOW = process.env.MAGMARK_STRICT_TIMES ? 1 : 10;
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
  limits: MetricsLimits = {},
): Promise<{ server: MetricsServer; port: number; errors: Error[] }> {
  const errors: Error[] = [];
  const server = new MetricsServer(error => errors.push(error), limits);
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

/** A client that asks over and over and reads nothing; `again`: it comes back whenever it is sent away. */
function greedy(port: number, request: string, again: boolean) {
  const text = `${request} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(200);
  const sockets = new Set<Socket>();
  let ended = false;
  const open = (): void => {
    const socket = createConnection(port, '127.0.0.1').pause();
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('connect', () => socket.write(text));
    socket.on('close', () => {
      sockets.delete(socket);
      // Not in the same moment: this process is the one that answers.
      if (again && !ended) setTimeout(open, 50);
    });
  };
  for (let client = 0; client < 64; client++) open();
  return {
    open: () => sockets.size,
    end: () => {
      ended = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Some 3 MB: far more than the kernel takes for a client that does not read. */
function manyTargets(): Partial<Answers> {
  const { streams, ...rest } = observationOf();
  const [stream] = streams;
  const targets = Array.from({ length: 10_000 }, (_, index) => ({
    ...stream!.targets[0]!,
    identifier: index + 1,
  }));
  return { observe: () => ({ ...rest, streams: [{ ...stream!, targets }] }) };
}

t.test('clients that ask and read nothing keep nobody from an answer', async t => {
  const { port, errors } = await started(manyTargets());
  for (const path of ['/metrics', '/healthz', '/nowhere']) {
    let slowest = 0;
    for (const again of [false, true]) {
      const attack = greedy(port, `GET ${path}`, again);
      try {
        await until(`64 clients of ${path}`, () => attack.open() > 32);
        for (let turn = 0; turn < 5; turn++) {
          const health = performance.now();
          t.equal((await get(port, '/healthz')).status, 200);
          const scrape = performance.now();
          t.equal((await get(port, '/metrics')).status, 200);
          const end = performance.now();
          slowest = Math.max(slowest, scrape - health);
          t.ok(scrape - health < HEALTH_MS * SLOW, `${path}: health within ${scrape - health} ms`);
          t.ok(end - scrape < SCRAPE_MS * SLOW, `${path}: a scrape within ${end - scrape} ms`);
        }
      } finally {
        attack.end();
      }
    }
    t.comment(`${path}: the slowest of health took ${Math.round(slowest)} ms`);
  }
  t.strictSame(errors, []);
});

t.test('a client that does not read its answer is sent away after a while', async t => {
  const { port } = await started(manyTargets(), { connectionMs: 200 });
  const socket = createConnection(port, '127.0.0.1').pause();
  socket.on('error', () => undefined);
  socket.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(socket, 'connect');
  const { port: own } = socket.address() as AddressInfo;
  const held = (): boolean =>
    execFileSync('ss', ['-tnH', 'state', 'established', `sport = :${port} and dport = :${own}`], {
      encoding: 'utf8',
    }) !== '';
  t.ok(held());
  await until('the connection to end', () => !held());
  socket.destroy();
});

t.test('the oldest connection of whoever has most gives way', async t => {
  const server = createServer();
  boundConnections(server, 3);
  server.listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ended: string[] = [];
  const open = async (name: string, localAddress: string) => {
    const socket = createConnection({ port, host: '127.0.0.1', localAddress }).resume();
    t.teardown(() => socket.destroy());
    socket.on('close', () => ended.push(name));
    socket.on('error', () => undefined);
    await once(socket, 'connect');
  };
  await open('other', '127.0.0.9');
  await open('first', '127.0.0.1');
  await open('second', '127.0.0.1');
  t.strictSame(ended, []);
  await open('third', '127.0.0.1');
  await until('one to end', () => ended.length > 0);
  await open('fourth', '127.0.0.1');
  await until('another to end', () => ended.length > 1);
  t.strictSame(ended, ['first', 'second']);
  server.close();
});

t.test('of many requests in one chunk the server sees one', async t => {
  let seen = 0;
  const server = createServer((request, response) => {
    seen++;
    response.setHeader('connection', 'close');
    response.end(`${request.method} ${request.url} ${request.headers.a}`);
  });
  readFirstRequests(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ask = async (pieces: readonly string[]): Promise<string> => {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
    let text = '';
    socket.on('data', chunk => {
      text += chunk;
    });
    for (const piece of pieces) {
      socket.write(piece);
      // Long enough that pieces mostly arrive apart; the answer is the same if they do not.
      await new Promise(resolve => setTimeout(resolve, 5));
    }
    if (!socket.closed) await once(socket, 'close');
    return text;
  };
  const get = 'GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n';
  for (const pieces of [[get], [get.repeat(200)], [get, get], [...get], [`${get}GET`]]) {
    seen = 0;
    const text = await ask(pieces);
    t.equal(seen, 1);
    t.match(text, /^HTTP\/1\.1 200 OK\r\n(.*\r\n)+\r\nGET \/x b$/);
  }
  const post = 'POST /x HTTP/1.1\r\nHost: h\r\nA: b\r\nContent-Length: 4\r\n\r\n';
  t.match(await ask([post, 'body']), /POST \/x b$/, 'a body is dropped');
  t.match(await ask([`${'x'.repeat(20_000)}`]), /^HTTP\/1\.1 400 /, 'what is no HTTP has no end to wait for');
  server.close();
  await once(server, 'close');
});

t.test('those who scrape at the same time have one text, and later ones a new one', async t => {
  let now = 0;
  let rendered = 0;
  const rendering = new Rendering(() => now);
  const render = async (): Promise<string> => {
    now += 50;
    return `${++rendered}`;
  };
  const [one, other] = await Promise.all([rendering.get(render), rendering.get(render)]);
  t.strictSame([`${one}`, `${other}`], ['1', '1']);
  now += 199;
  t.equal(`${await rendering.get(render)}`, '1', 'four times as long as it took');
  now += 2;
  t.equal(`${await rendering.get(render)}`, '2');
  now += 1000;
  await t.rejects(
    rendering.get(() => Promise.reject(new Error('broken'))),
    /broken/,
  );
  t.equal(`${await rendering.get(render)}`, '3', 'nothing of a failure is kept');
});
