/**
 * A steady load of datagrams of which each is counted where it arrives: `node udp-load.js PER_SECOND FAMILY:DESTINATION:PORT...`
 * in the clients' namespace. It sends from every client address in turn to every destination, one burst a millisecond,
 * and ends with its stdin: then it prints how many the kernel has taken.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { CLIENTS, clientAddress } from '../../scripts/lab/plan.js';

const [perSecond, ...destinations] = process.argv.slice(2);
const senders = await Promise.all(
  destinations.map(async text => {
    const [, family, address, port] = /^([46]):(.*):(\d+)$/.exec(text)!;
    const sockets: Socket[] = [];
    for (let index = 0; index < CLIENTS; index++) {
      const socket = createSocket(family === '4' ? 'udp4' : 'udp6');
      socket.bind(0, clientAddress(family === '4' ? 4 : 6, index));
      await once(socket, 'listening');
      socket.connect(Number(port), address!);
      await once(socket, 'connect');
      sockets.push(socket);
    }
    return sockets;
  }),
);
// One client to each destination, then the next: all queues have their share of every burst.
const sockets = Array.from({ length: CLIENTS }, (_, index) => senders.map(each => each[index]!)).flat();

let sent = 0;
let taken = 0;
let failed = 0;
const began = performance.now();
const timer = setInterval(() => {
  const due = ((performance.now() - began) / 1000) * Number(perSecond);
  // What a busy machine has made us miss is sent little by little: no queue shall be full by it.
  for (let burst = 0; sent < due && burst < Number(perSecond) / 250; burst++) {
    sockets[sent++ % sockets.length]!.send(`${sent}`, error => {
      if (error === null) taken++;
      else {
        failed++;
        if (failed === 1) process.stderr.write(`${error}\n`);
      }
    });
  }
}, 1);
process.stdout.write('ready\n');
process.stdin.resume();
await once(process.stdin, 'end');
clearInterval(timer);
while (taken + failed < sent) await new Promise(resolve => setImmediate(resolve));
process.stdout.write(`${JSON.stringify({ taken, failed, seconds: (performance.now() - began) / 1000 })}\n`);
for (const socket of sockets) socket.close();
