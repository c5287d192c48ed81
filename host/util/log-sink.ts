/**
 * Where lines of a log go: a descriptor that may not block. A reader that stops reading costs lines, which are counted, and
 * never holds up the process.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** Lines that wait for a reader. */
const MOST_BYTES = 1024 * 1024;
const TRY_AGAIN_MS = 50;
/** How long the end of the process waits for a reader. */
const LAST_MS = 500;
const LAST_STEP_MS = 10;

export interface LogSinkOptions {
  readonly mostBytes?: number;
  /** Called when lines go through again. @param dropped how many did not */
  readonly onDropped?: (dropped: number) => void;
}

export class LogSink {
  /** Lines that did not get through, since the start. */
  dropped = 0;
  private readonly descriptor: number;
  private readonly mostBytes: number;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  /** Of `dropped`, those since lines last went through. */
  private gap = 0;
  private timer: NodeJS.Timeout | null = null;

  constructor(
    descriptor: number,
    private readonly options: LogSinkOptions = {},
  ) {
    this.descriptor = nonBlocking(descriptor);
    this.mostBytes = options.mostBytes ?? MOST_BYTES;
  }

  /** Whether lines wait for their reader now. */
  get isStuck(): boolean {
    return this.waiting.length > 0;
  }

  /** @param line with its end */
  write(line: string): void {
    const bytes = Buffer.from(line);
    // A gap ends when all that waits has gone through, so that it is one.
    if (this.isStuck && (this.gap > 0 || this.waitingBytes + bytes.length > this.mostBytes)) {
      this.drop();
      return;
    }
    this.waiting.push(bytes);
    this.waitingBytes += bytes.length;
    this.advance();
  }

  /** Give the reader a little time for what waits: for the end of the process, which needs no event loop. */
  flush(): void {
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (const end = performance.now() + LAST_MS; !this.tryAll() && performance.now() < end; ) {
      Atomics.wait(pause, 0, 0, LAST_STEP_MS);
    }
  }

  private advance(): void {
    const { dropped } = this;
    if (!this.tryAll()) {
      this.timer ??= setTimeout(() => {
        this.timer = null;
        this.advance();
      }, TRY_AGAIN_MS).unref();
    } else if (this.gap > 0 && this.dropped === dropped) {
      const { gap } = this;
      this.gap = 0;
      this.options.onDropped?.(gap);
    }
  }

  /** @returns whether nothing waits any more: it went through, or nothing can */
  private tryAll(): boolean {
    for (let bytes = this.waiting[0]; bytes !== undefined; bytes = this.waiting[0]) {
      let written = bytes.length;
      try {
        written = writeSync(this.descriptor, bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false;
        // It has no reader (EPIPE), or the disk is full: the next line tries again.
        this.drop();
      }
      this.waitingBytes -= written;
      if (written < bytes.length) this.waiting[0] = bytes.subarray(written);
      else this.waiting.shift();
    }
    return true;
  }

  private drop(): void {
    this.dropped++;
    this.gap++;
  }
}

/**
 * A descriptor of the same file whose writes do not wait. Other processes share the file description of `descriptor`: where
 * the kernel gives one of our own, theirs stays as it is.
 */
function nonBlocking(descriptor: number): number {
  const found = fstatSync(descriptor);
  // The place in a file belongs to its description.
  if (found.isFile()) return descriptor;
  const path = `/proc/self/fd/${descriptor}`;
  try {
    const own = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    // What was opened may be another file where /proc is another process's.
    if (fstatSync(own).ino === found.ino) return own;
    closeSync(own);
  } catch {
    // A socket, as of journald, cannot be opened again; a pipe of another user neither.
  }
  return shared(descriptor);
}

/** Kept, since their end would close the descriptor. */
const keptOpen: Socket[] = [];

/** libuv sets O_NONBLOCK on what it opens. */
function shared(descriptor: number): number {
  try {
    const socket = new Socket({ fd: descriptor, readable: false, writable: true });
    // Nothing is written by it.
    socket.on('error', () => undefined);
    keptOpen.push(socket);
  } catch {
    // Neither a pipe nor a socket: its writes wait as ever.
  }
  return descriptor;
}
