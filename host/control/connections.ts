/**
 * Connections of a server, so many at most. Where there is no room, the one that has asked nothing for longest makes
 * room: idle connections take no descriptor from the daemon's programs, and keep no command out.
 */
import type { Socket } from 'node:net';

/** Each command has one for a moment. */
const MOST = 64;
const FULL = JSON.stringify({ error: 'too many requests at once: try again' });
const REFUSAL = `HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: ${FULL.length}\r\nconnection: close\r\n\r\n${FULL}`;

export class Connections {
  /** Those that ask nothing, the longest first. */
  private readonly idle = new Set<Socket>();
  private readonly working = new Set<Socket>();

  constructor(private readonly most = MOST) {}

  /** One that is new. */
  add(socket: Socket): void {
    const [oldest] = this.idle;
    if (this.idle.size + this.working.size < this.most) this.idle.add(socket);
    else if (oldest !== undefined) {
      this.forget(oldest);
      oldest.destroy();
      this.idle.add(socket);
    } else socket.end(REFUSAL);
    socket.once('close', () => this.forget(socket));
  }

  /** It asks. */
  work(socket: Socket): void {
    if (this.idle.delete(socket)) this.working.add(socket);
  }

  /** It was answered. */
  rest(socket: Socket): void {
    if (this.working.delete(socket) && !socket.destroyed) this.idle.add(socket);
  }

  /** It is counted no more: it is closed, or what it gets is bounded elsewhere. */
  forget(socket: Socket): void {
    this.idle.delete(socket);
    this.working.delete(socket);
  }
}
