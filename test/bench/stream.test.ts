/** The receiver of the benchmark's TCP goes on for as long as it is wanted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { compile } from '../../scripts/bench/queue/compile.js';
import { insideNamespace } from '../queue/namespace.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

const PORT = 5001;
/** Above what it keeps, and what the kernel keeps for it (64 each). */
const CONNECTIONS = 200;

t.test('connections whose end it never sees do not keep it from others', async t => {
  const receiver = spawn(compile().programs.stream, ['receive', `${PORT}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(receiver.stdout, 'data');
  const sockets: Socket[] = [];
  for (let n = 0; n < CONNECTIONS; n++) {
    const socket = connect(PORT, '127.0.0.1');
    socket.on('error', () => undefined);
    sockets.push(socket);
    await once(socket, 'connect');
  }
  const closed = sockets.map(socket => once(socket, 'close'));
  await Promise.race(closed);
  const last = sockets.at(-1)!;
  last.write('x');
  t.equal(last.destroyed, false, 'the youngest is open, and an old one was closed');
  receiver.kill('SIGKILL');
  await once(receiver, 'exit');
  for (const socket of sockets) socket.destroy();
});
