/**
 * Which connections may stay. There is no queue in which one client could keep another waiting: where there are too many,
 * the oldest of the address with most of them gives way, so a client that opens many loses its own.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** From a connection's begin to the last byte that the client has read. A scrape takes milliseconds. */
const LONGEST_MS = 15_000;

/** @param most connections at a time */
export function boundConnections(server: Server, most: number, longestMs = LONGEST_MS): void {
  /** In the order in which they came. */
  const open = new Map<Socket, string>();
  server.on('connection', socket => {
    open.set(socket, socket.remoteAddress ?? '');
    // A client that reads nothing never ends an answer; Node's own limits are about requests.
    const late = setTimeout(() => socket.destroy(), longestMs).unref();
    socket.once('close', () => {
      clearTimeout(late);
      open.delete(socket);
    });
    if (open.size > most) oldestOfMost(open).destroy();
  });
}

function oldestOfMost(open: ReadonlyMap<Socket, string>): Socket {
  const counts = new Map<string, number>();
  for (const address of open.values()) counts.set(address, (counts.get(address) ?? 0) + 1);
  const largest = Math.max(...counts.values());
  for (const [socket, address] of open) if (counts.get(address) === largest) return socket;
  throw new Error('no connection is open');
}
