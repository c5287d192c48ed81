import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { BirdControl } from '../../host/frontend/control.js';

let sockets = 0;

/** A socket on which `talk` plays BIRD. */
async function serve(t: Test, talk: (connection: Socket) => void): Promise<string> {
  const path = join(tmpdir(), `mm-control-${process.pid}-${sockets++}`);
  const connections = new Set<Socket>();
  const server = createServer(connection => {
    connections.add(connection);
    connection.on('error', () => undefined);
    talk(connection);
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  t.teardown(() => {
    for (const connection of connections) connection.destroy();
    server.close();
  });
  return path;
}

const GREETING = '0001 BIRD 2.0.12 ready.\n';

t.test('commands are answered one after the other', async t => {
  const path = await serve(t, connection => {
    connection.write(GREETING);
    connection.on('data', data => connection.write(`1000-you said\n 0000 ${data}0000 \n`));
  });
  const control = await BirdControl.connect(path, 5000);
  const replies = await Promise.all(['one', 'two'].map(command => control.ask(command, 5000)));
  t.strictSame(
    replies.map(reply => reply[1]!.text),
    ['0000 one', '0000 two'],
  );
  control.close();
  await t.rejects(control.ask('three', 5000), { code: 'CONTROL_FAILED', message: /three: it was closed/ });
});

t.test('who does not answer as BIRD does is told, within the bound', async t => {
  const LONG_MS = 20_000;
  const fails = async (
    talk: (connection: Socket) => void,
    message: RegExp,
    [connectMs, askMs] = [LONG_MS, LONG_MS],
  ) =>
    t.rejects(
      serve(t, talk).then(async path =>
        (await BirdControl.connect(path, connectMs)).ask('show status', askMs),
      ),
      { code: 'CONTROL_FAILED', message },
    );
  await fails(() => undefined, /greeting: no answer within 50 ms/, [50, LONG_MS]);
  await fails(connection => connection.end(), /greeting: the connection was closed/);
  await fails(connection => connection.write('9001 go away\n'), /its greeting is "go away"/);
  await fails(connection => connection.write('HTTP/1.1 400\n'), /greeting: not a line of BIRD: "HTTP/);
  await fails(connection => connection.write(GREETING), /show status: no answer within 200 ms/, [
    LONG_MS,
    200,
  ]);
  await fails(connection => {
    connection.write(GREETING);
    connection.on('data', () => connection.end('1000-half'));
  }, /show status: the connection was closed/);
  await fails(connection => {
    connection.write(GREETING);
    connection.on('data', () => connection.write(`1000-${'x'.repeat(9 * 1024 * 1024)}`));
  }, /show status: an answer of more than/);
  await fails(connection => connection.write(`${GREETING}0000 unasked\n`), /unasked|nothing asked for/);
  await t.rejects(BirdControl.connect(join(tmpdir(), 'mm-nobody'), 200), {
    code: 'CONTROL_FAILED',
    message: /mm-nobody: greeting: .*ENOENT/,
  });
});

/** Lines of a reply that takes several reads. */
const LONG = 300_000;
const BUSY_MS = 1200;

t.test('an answer that came while this process was busy is one, however long', async t => {
  const path = join(tmpdir(), `mm-control-${process.pid}-${sockets++}`);
  const bird = new Worker(
    `const { createServer } = require('node:net');
    const { parentPort, workerData: { path, greeting, lines } } = require('node:worker_threads');
    createServer(connection => {
      connection.write(greeting);
      connection.on('data', () => connection.write('1000-a route\\n'.repeat(lines) + '0000 \\n'));
    }).listen(path, () => parentPort.postMessage('listening'));`,
    { eval: true, workerData: { path, greeting: GREETING, lines: LONG } },
  );
  t.teardown(() => bird.terminate());
  await once(bird, 'message');
  const control = await BirdControl.connect(path, 5000);
  const reply = control.ask('show route', BUSY_MS - 200);
  // Once it is asked.
  await null;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_MS);
  t.equal((await reply).length, LONG + 1);
  control.close();
});
