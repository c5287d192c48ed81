/**
 * The first head of a connection, and nothing after it. Node's parser reads each chunk to its end: 200 requests in one
 * chunk of 7 KB are 200 requests to drop, which 64 clients together make seconds of.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

const END = Buffer.from('\r\n\r\n');

/** `server` reads one request of each connection, and drops what the client sends after its head. */
export function readFirstRequests(server: Server): void {
  // Node documents that any Duplex may be passed to the listener of `connection`.
  const listeners = server.listeners('connection') as ((this: Server, stream: Duplex) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const stream = new FirstRequest(socket);
    for (const listener of listeners) listener.call(server, stream);
  });
}

class FirstRequest extends Duplex {
  /** The last bytes of the head so far, since its end may come in two chunks. */
  private tail = Buffer.alloc(0);
  private isWhole = false;

  constructor(private readonly socket: Socket) {
    super();
    socket.on('data', chunk => this.readHead(chunk));
    socket.on('end', () => this.push(null));
    socket.on('error', error => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  private readHead(chunk: Buffer): void {
    // What comes after the head is read and dropped: a socket closed with unread bytes resets, and the answer is lost.
    if (this.isWhole) return;
    const seen = Buffer.concat([this.tail, chunk]);
    const at = seen.indexOf(END);
    this.isWhole = at >= 0;
    const end = this.isWhole ? at + END.length : seen.length;
    this.push(seen.subarray(this.tail.length, end));
    this.tail = seen.subarray(Math.max(0, seen.length - END.length + 1));
  }

  /** The parser limits the size of a head, so no more than that waits here. */
  override _read(): void {}

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.socket.end(done);
  }

  /** Called by Node's server after the answer, as a socket has it. */
  destroySoon(): void {
    this.end(() => this.destroy());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }
}
