import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { sendDatagram } from '../../host/notify/native.js';
import { Notifier, takeEnvironment } from '../../host/notify/notifier.js';
import { EnvironmentError } from '../../host/types/errors.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { DatagramReceiver } from './receiver.js';

/** Short: the path of a socket has 108 bytes at most. */
const directory = mkdtempSync(join(tmpdir(), 'magmark-'));
t.teardown(() => rmSync(directory, { recursive: true }));

const WELL = { status: () => 'all is well', alive: () => true };

function notifierOf(environment: Record<string, string>, send: (address: string, text: string) => void) {
  const errors: Error[] = [];
  const onError = (error: Error): void => void errors.push(error);
  const notifier = new Notifier({ environment, pid: 42, onError, send, monotonicUs: () => 123_456n });
  return { notifier, errors };
}

t.test('a datagram reaches a path and an abstract socket as it is', async t => {
  for (const address of [join(directory, 'notify'), `@magmark-test-${process.pid}`]) {
    const receiver = await DatagramReceiver.start(address);
    sendDatagram(address, 'READY=1\nSTATUS=ünïcode');
    await waitFor('a datagram', 60_000, () => receiver.datagrams.length > 0);
    t.strictSame(receiver.datagrams, ['READY=1\nSTATUS=ünïcode'], address);
    await receiver.stop();
  }
});

t.test('who does not listen is an error that names the address', t => {
  const path = join(directory, 'nobody');
  t.throws(() => sendDatagram(path, 'READY=1'), { code: 'ENVIRONMENT', message: `send to ${path}: ENOENT` });
  t.throws(() => sendDatagram('@magmark-nobody', 'READY=1'), /send to @magmark-nobody: ECONNREFUSED/);
  const long = `/${'x'.repeat(200)}`;
  t.throws(() => sendDatagram(long, 'READY=1'), /ENAMETOOLONG/);
  t.end();
});

t.test('start, reload and stop are told in the words of sd_notify', t => {
  const told: string[] = [];
  const { notifier } = notifierOf({ NOTIFY_SOCKET: '/run/n' }, (address, text) =>
    told.push(`${address} ${text}`),
  );
  notifier.ready(WELL);
  notifier.reloading();
  notifier.ready(WELL);
  notifier.stopping();
  notifier.reloading();
  notifier.ready(WELL);
  t.strictSame(told, [
    '/run/n READY=1\nSTATUS=all is well',
    '/run/n RELOADING=1\nMONOTONIC_USEC=123456',
    '/run/n READY=1\nSTATUS=all is well',
    '/run/n STOPPING=1\nSTATUS=stopping',
  ]);
  notifier.close();
  t.end();
});

t.test('without a supervisor nothing is told', t => {
  const { notifier } = notifierOf({ WATCHDOG_USEC: '20000' }, () => t.fail('told'));
  notifier.ready(WELL);
  notifier.reloading();
  notifier.stopping();
  t.end();
});

t.test('the watchdog hears of a daemon that is alive, twice in its time, and of no other', async t => {
  const told: string[] = [];
  const environment = { NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '40000', WATCHDOG_PID: '42' };
  const { notifier } = notifierOf(environment, (_, text) => told.push(text));
  let [alive, status] = [true, 'ready'];
  let asked = 0;
  const from = performance.now();
  notifier.ready({
    status: () => status,
    alive: () => {
      asked++;
      return alive;
    },
  });
  await waitFor('three signs of life', 60_000, () => told.filter(text => text === 'WATCHDOG=1').length >= 3);
  t.ok(performance.now() - from >= 3 * 20 - 5);
  status = 'not\nready';
  await waitFor('the new status', 60_000, () => told.includes('STATUS=not ready'));
  alive = false;
  const [signs, before] = [told.length, asked];
  await waitFor('it to be asked thrice', 60_000, () => asked >= before + 3);
  t.equal(told.length, signs, 'a daemon that is not alive gives none');
  notifier.close();
});

t.test("another process's watchdog is none of ours", async t => {
  const told: string[] = [];
  const environment = { NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '1000', WATCHDOG_PID: '43' };
  const { notifier } = notifierOf(environment, (_, text) => told.push(text));
  let asked = 0;
  notifier.ready({ status: () => `look ${asked++}`, alive: () => true });
  await waitFor('a look', 60_000, () => asked >= 2);
  t.notOk(told.includes('WATCHDOG=1'));
  notifier.close();
});

t.test('a supervisor that went away is told of once', t => {
  const { notifier, errors } = notifierOf({ NOTIFY_SOCKET: '/run/n' }, () => {
    throw new EnvironmentError('gone');
  });
  notifier.ready(WELL);
  notifier.reloading();
  t.equal(errors.length, 1);
  notifier.close();
  t.end();
});

t.test('children get none of the variables', t => {
  Object.assign(process.env, { NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '1', WATCHDOG_PID: '2' });
  t.strictSame(takeEnvironment(), { NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '1', WATCHDOG_PID: '2' });
  t.strictSame(
    ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'].map(name => process.env[name]),
    [undefined, undefined, undefined],
  );
  t.end();
});
