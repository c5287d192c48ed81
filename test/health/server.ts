/**
 * A target's servers, on the addresses that are its parameters and no others. HTTP answers by the path: `/status/404` with
 * that status, `/silent` never, `/headers` without end, `/body` with a body without end, and `/sequence/204,500,404` with
 * one status after the other, then the last.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { PORT } from './topology.js';

const asked = new Map<string, number>();

function answer({ url = '' }: IncomingMessage, response: ServerResponse): void {
  const [, kind, value = ''] = url.split('/');
  switch (kind) {
    case 'status':
      response.writeHead(Number(value), { location: '/status/500' }).end();
      break;
    case 'sequence': {
      const statuses = value.split(',');
      const count = asked.get(url) ?? 0;
      asked.set(url, count + 1);
      response.writeHead(Number(statuses[Math.min(count, statuses.length - 1)])).end();
      break;
    }
    case 'headers':
      endless(response.socket!, 'HTTP/1.1 200 OK\r\n', `x: ${'y'.repeat(1000)}\r\n`);
      break;
    case 'body':
      endless(response.socket!, 'HTTP/1.1 200 OK\r\n\r\n', 'y'.repeat(1000));
      break;
  }
}

function endless(socket: Socket, begin: string, more: string): void {
  socket.write(begin);
  const fill = () => {
    while (!socket.destroyed && socket.write(more));
  };
  socket.on('drain', fill).on('error', () => {});
  fill();
}

const listening = process.argv.slice(2).flatMap(address => {
  const http = createHttpServer(answer).on('clientError', () => {});
  const silent = createServer(socket => socket.on('error', () => {}));
  return [
    { server: http, port: PORT.http },
    { server: silent, port: PORT.silent },
  ].map(({ server, port }) => new Promise<void>(resolve => server.listen({ host: address, port }, resolve)));
});
await Promise.all(listening);
process.stdout.write('listening\n');
