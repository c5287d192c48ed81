/**
 * A target: `node target.js IDENTIFIER TCP_PORT UDP_PORT VIP...`. TCP on any address: a greeting, then whatever comes,
 * back. UDP on each VIP: a line of JSON about the datagram. Prints `ready` when all of them listen.
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type DatagramAnswer, greeting } from './messages.js';

const [identifierText, tcpPort, udpPort, ...vips] = process.argv.slice(2);
const identifier = Number(identifierText);

const server = createServer(socket => {
  // A client that was moved to another target resets the connection; that is the demonstration, not a fault.
  socket.on('error', () => socket.destroy());
  socket.write(greeting(identifier));
  socket.pipe(socket);
});

const sockets = vips.map(vip => {
  const socket = createSocket(vip.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (datagram, from) => {
    const sha256 = createHash('sha256').update(datagram).digest('hex');
    const answer: DatagramAnswer = { identifier, bytes: datagram.length, sha256 };
    socket.send(JSON.stringify(answer), from.port, from.address);
  });
  return { socket, vip };
});

await Promise.all([
  once(server.listen(Number(tcpPort), '::', 1024), 'listening'),
  // Bound to the VIP, so that the answer comes from it.
  ...sockets.map(({ socket, vip }) => once(socket.bind(Number(udpPort), vip), 'listening')),
]);
process.stdout.write('ready\n');
