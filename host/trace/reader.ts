/** One who watches: what it wants, what waits for it, and what it lost. */
import type { CapturedTrace, TraceFlow } from '../types/trace.js';

export interface TraceOptions {
  /** What is wanted; none: every packet. */
  readonly flows: readonly TraceFlow[];
  /** Bytes of each packet, 0 to Limit.ReadBytes. */
  readonly snapLength: number;
}

/** Packets that wait for a slow reader before it loses some: about 3 MB of objects. */
export const MOST_WAITING = 8192;

/** Arrays of packets, in the order of their times as far as they came together; it ends after `close`. */
export class TraceReader implements AsyncIterable<readonly CapturedTrace[]> {
  /** Packets that were wanted and are not given, exact once `close` has resolved. */
  lost = 0;
  private waiting: CapturedTrace[] = [];
  private ended = false;
  private wake: () => void = () => {};

  constructor(
    readonly options: TraceOptions,
    /** Change what is wanted. @throws ImageError if the flows do not fit */
    readonly setFlows: (flows: readonly TraceFlow[]) => Promise<void>,
    /** Take what is still on its way, then end. Closing twice is harmless. */
    readonly close: () => Promise<void>,
  ) {}

  /** Whether one more packet can wait beside `more`; else it is to be counted in `lost`. */
  hasRoom(more: number): boolean {
    return this.waiting.length + more < MOST_WAITING;
  }

  /** For the tracer. */
  give(packets: readonly CapturedTrace[]): void {
    this.waiting.push(...packets);
    this.wake();
  }

  /** For the tracer: nothing more comes. */
  end(): void {
    this.ended = true;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly CapturedTrace[]> {
    while (true) {
      if (this.waiting.length > 0) {
        const packets = this.waiting;
        this.waiting = [];
        yield packets;
      } else if (this.ended) return;
      else
        await new Promise<void>(resolve => {
          this.wake = resolve;
        });
    }
  }
}
