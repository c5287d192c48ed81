/** The control socket against real clients on a real socket. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ask, follow, RefusedError } from '../../host/control/client.js';
import { ControlServer, RequestError, type Routes, Streamed } from '../../host/control/server.js';
import { ClashError, ConfigError } from '../../host/types/errors.js';

const ROUTES: Routes = {
  'GET /v1/status': ({ query }) => ({ is: query.get('is') }),
  'POST /v1/echo': ({ body }) => ({ bytes: body.length, head: body.slice(0, 10) }),
  'GET /v1/faults': () => {
    throw new ConfigError(['a: wrong', 'b: wrong']);
  },
  'GET /v1/clash': async () => {
    throw new ClashError('taken');
  },
  'GET /v1/bug': () => {
    throw new TypeError('nobody expected this');
  },
  'GET /v1/refused': () => {
    throw new RequestError(403, 'its file is the truth');
  },
  'GET /v1/numbers': ({ gone }) => new Streamed('text/plain', numbers(gone)),
};

async function* numbers(gone: AbortSignal): AsyncGenerator<string> {
  for (let n = 0; !gone.aborted; n++) {
    yield `${n}\n`;
    await turn();
  }
  ended.push(true);
}
const ended: boolean[] = [];

async function started(t: Test, routes: Routes | null = ROUTES) {
  const path = join(socketDirectory(t), 's');
  const errors: Error[] = [];
  const server = await ControlServer.start(path, error => errors.push(error));
  server.routes = routes;
  t.teardown(() => server.stop());
  return { server, path, errors };
}

/** A socket's path is short. */
function socketDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'mm-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What a raw request is answered. */
function raw(socketPath: string, method: string, path: string, body?: string) {
  return new Promise<{ status: number; reply: Record<string, unknown> }>((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false }, response => {
      let text = '';
      response.on('data', chunk => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode!, reply: JSON.parse(text) }));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

t.test('values are answered as JSON, bodies arrive whole', async t => {
  const { path } = await started(t);
  t.same(await ask(path, '/v1/status?is=up'), { is: 'up' });
  t.same(
    await ask(path, '/v1/status?is=%1b[2J%c2%9b%0a'),
    { is: '\\u001b[2J\\u009b\n' },
    'no terminal obeys it',
  );
  await t.rejects(ask(path, `/v1/${'x'.repeat(5000)}`), {
    message: /^there is no \/v1\/x{76}\.\.\.; version 1 has/,
  });
  t.same(await ask(path, '/v1/echo', 'x'.repeat(3_000_000)), { bytes: 3_000_000, head: 'xxxxxxxxxx' });
  t.equal(statSync(path).mode & 0o777, 0o600, 'its owner alone');
});

t.test('what cannot be answered is told with its status', async t => {
  const { path, errors } = await started(t);
  const rows: [method: string, path: string, status: number, error: RegExp][] = [
    ['GET', '/v1/nothing', 404, /there is no \/v1\/nothing; version 1 has \/v1\/status, \/v1\/echo/],
    ['POST', '/v1/status', 405, /POST is not possible on \/v1\/status: GET is/],
    ['GET', '/v1/faults', 400, /a: wrong/],
    ['GET', '//', 400, /\/\/ is no path/],
    ['GET', '/v1/clash', 409, /taken/],
    ['GET', '/v1/refused', 403, /its file is the truth/],
    ['GET', '/v1/bug', 500, /nobody expected this/],
  ];
  for (const [method, url, status, error] of rows) {
    const answer = await raw(path, method, url);
    t.equal(answer.status, status, url);
    t.match(answer.reply.error, error, url);
  }
  t.same((await raw(path, 'GET', '/v1/faults')).reply.faults, ['a: wrong', 'b: wrong']);
  t.same(
    errors.map(error => error.message),
    ['nobody expected this'],
    'only what nobody expected is told the daemon',
  );
  await t.rejects(ask(path, '/v1/clash'), { code: 'CONTROL_FAILED', message: 'taken' });
});

t.test('a body beyond the bound is refused', async t => {
  const { path } = await started(t);
  const body = 'x'.repeat(65 * 1024 * 1024);
  t.match(await raw(path, 'POST', '/v1/echo', body).catch(error => ({ status: error.code })), {
    status: /413|EPIPE|ECONNRESET/,
  });
  t.same(await ask(path, '/v1/echo', 'still there'), { bytes: 11, head: 'still ther' });
});

t.test('before its routes are set the daemon is starting', async t => {
  const { path } = await started(t, null);
  await t.rejects(ask(path, '/v1/status'), { message: 'magmark is starting' });
});

t.test('a stream ends when its reader goes, and waits for one that is slow', async t => {
  const { path } = await started(t);
  const stop = new AbortController();
  let text = '';
  for await (const chunk of follow(path, '/v1/numbers', stop.signal)) {
    text += chunk.toString();
    if (text.length > 100_000) stop.abort();
  }
  t.match(text, /^0\n1\n2\n/);
  while (ended.length === 0) await turn();
  t.pass('the handler heard of it');
});

t.test('a stream ends when its reader goes without having read it', async t => {
  let state = 'not begun';
  async function* much(): AsyncGenerator<string> {
    try {
      state = 'begun';
      // Far more than a socket takes.
      yield 'x'.repeat(16_000_000);
      state = 'read';
    } finally {
      state += ', ended';
    }
  }
  const { path } = await started(t, { 'GET /v1/much': () => new Streamed('text/plain', much()) });
  const reader = connect(path);
  reader.pause();
  reader.write('GET /v1/much HTTP/1.1\r\nhost: magmark\r\n\r\n');
  while (state === 'not begun') await turn();
  // It has been written by then, as much as there is room for.
  await turn();
  reader.destroy();
  while (state === 'begun') await turn();
  t.equal(state, 'begun, ended');
});

t.test('a stream ends when the daemon stops', async t => {
  const { path, server } = await started(t);
  let stopped: Promise<void> | null = null;
  const reading = (async () => {
    for await (const _ of follow(path, '/v1/numbers')) stopped ??= server.stop();
  })();
  await reading.catch(error => t.match(error, { code: 'CONTROL_FAILED' }));
  await stopped;
  t.notOk(existsSync(path));
});

t.test(
  'a socket that was left behind is taken over, one that lives and one that is a file are not',
  async t => {
    const { path } = await started(t);
    await t.rejects(
      ControlServer.start(path, () => {}),
      { message: /another process listens there/ },
    );
    const file = join(socketDirectory(t), 'file');
    writeFileSync(file, '');
    await t.rejects(
      ControlServer.start(file, () => {}),
      { message: /something that is not a socket/ },
    );
    await t.rejects(
      ControlServer.start(join(socketDirectory(t), 'x'.repeat(120)), () => {}),
      { message: /107 bytes/ },
    );
  },
);

t.test('idle connections keep nobody out, and take no more than their share of descriptors', async t => {
  const { path } = await started(t);
  const open: Socket[] = [];
  t.teardown(() => open.map(socket => socket.destroy()));
  let closed = 0;
  for (let n = 0; n < 300; n++) {
    const socket = connect(path);
    open.push(socket);
    socket.once('close', () => closed++);
    socket.on('error', () => undefined);
    await new Promise(resolve => socket.once('connect', resolve));
  }
  t.same(await ask(path, '/v1/status?is=here'), { is: 'here' });
  for (const end = Date.now() + 60_000; closed < 237 && Date.now() < end; ) await turn();
  t.equal(closed, 237, '300 and the one that asked, of which 64 may stay');
});

t.test('streams are counted apart', async t => {
  const { path } = await started(t);
  const end = new AbortController();
  const streams = Array.from({ length: 70 }, () => follow(path, '/v1/numbers', end.signal));
  for (const stream of streams) t.ok((await stream.next()).value);
  t.same(await ask(path, '/v1/status?is=here'), { is: 'here' });
  end.abort();
  for (const stream of streams) await stream.next();
});

t.test('more requests at once than there is room for are told so', async t => {
  let answer = (): void => {};
  const answered = new Promise<void>(resolve => {
    answer = resolve;
  });
  const { path } = await started(t, { 'GET /v1/slow': () => answered.then(() => ({})) });
  const slow = Array.from({ length: 64 }, () => ask(path, '/v1/slow'));
  for (const end = Date.now() + 60_000; Date.now() < end; ) {
    const refused: unknown = await ask(path, '/v1/none').catch((error: unknown) => error);
    if (refused instanceof RefusedError && refused.status === 503) break;
  }
  await t.rejects(ask(path, '/v1/slow'), { status: 503, message: 'too many requests at once: try again' });
  answer();
  t.equal((await Promise.all(slow)).length, 64);
});
