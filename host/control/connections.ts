/**
 * Connections of a server: so many at most that ask nothing, and so many that are being answered. Of those that ask nothing,
 * the oldest makes room for a new one: idle connections take no descriptor from the daemon's programs, and keep no
 * command out.
 */
import type { Socket } from 'node:net';

/** Each command has one for a moment. */
const MOST = 64;

export class Connections {
  /** Those that ask nothing, the oldest first. */
  private readonly idle = new Set<Socket>();
  private readonly working = new Set<Socket>();

  constructor(private readonly most = MOST) {}

  /** One that is new. */
  add(socket: Socket): void {
    const [oldest] = this.idle;
    if (oldest !== undefined && this.idle.size >= this.most) {
      this.forget(oldest);
      oldest.destroy();
    }
    this.idle.add(socket);
    socket.once('close', () => this.forget(socket));
  }

  /** It asks. @returns false if too many do */
  work(socket: Socket): boolean {
    if (this.working.size >= this.most) return false;
    this.idle.delete(socket);
    this.working.add(socket);
    return true;
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
