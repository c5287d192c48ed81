/** Sends so many small UDP datagrams to a port of 127.0.0.1 as fast as it can. */
import { createSocket } from 'node:dgram';

const [port, count] = process.argv.slice(2).map(Number) as [number, number];
const payload = Buffer.alloc(22);
const sockets = Array.from({ length: 8 }, () => createSocket('udp4'));
await Promise.all(
  sockets.map(async socket => {
    await new Promise<void>(resolve => socket.connect(port, '127.0.0.1', resolve));
    for (let n = 0; n < count / sockets.length; n++) {
      // A refused one met a queue that nobody holds: the flood goes on.
      await new Promise(resolve => socket.send(payload, resolve));
    }
    socket.close();
  }),
);
