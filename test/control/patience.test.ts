import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { askPatiently } from '../../host/control/patience.js';
import { ControlServer } from '../../host/control/server.js';

const directory = mkdtempSync(join(tmpdir(), 'mm-'));
t.teardown(() => rmSync(directory, { recursive: true }));
const fail = (error: Error): void => {
  throw error;
};

t.test('a command waits for a daemon that starts, until it listens and is ready', async t => {
  const socket = join(directory, 'late');
  let asked = 0;
  let server: ControlServer | null = null;
  t.teardown(() => server?.stop());
  const isStarting = async () => {
    asked++;
    if (asked === 30) {
      server = await ControlServer.start(socket, fail);
      // It listens first and answers later.
      setTimeout(() => (server!.routes = { 'GET /v1/x': () => ({ here: true }) }), 100);
    }
    // It gives its lock up once it is ready.
    return asked < 30;
  };
  t.strictSame(await askPatiently(socket, '/v1/x', undefined, { unseenMs: 0, isStarting }), { here: true });
  t.equal(asked, 30);
});

t.test(
  'where no daemon starts it fails at once, or after the time for one that is not yet visible',
  async t => {
    const socket = join(directory, 'never');
    for (const unseenMs of [0, 300]) {
      const began = performance.now();
      let asked = 0;
      const isStarting = () => {
        asked++;
        return false;
      };
      await t.rejects(
        askPatiently(socket, '/v1/x', undefined, { unseenMs, isStarting }),
        /no magmark answers/,
      );
      t.equal(asked, 1, 'the lock is looked at once');
      t.ok(performance.now() - began >= unseenMs);
    }
  },
);

t.test('a refusal is not waited for', async t => {
  const socket = join(directory, 'refuses');
  const server = await ControlServer.start(socket, fail);
  t.teardown(() => server.stop());
  server.routes = {};
  let asked = 0;
  const isStarting = () => {
    asked++;
    return true;
  };
  await t.rejects(askPatiently(socket, '/v1/x', undefined, { unseenMs: 0, isStarting }), /v1\/x/);
  t.equal(asked, 0);
});
