/** One who watches: what it wants, what waits for it, and what it lost. */
import type { CapturedTrace, TraceFlow } from '../types/trace.js';

export interface TraceOptions {
  /** What is wanted; none: every packet. */
  readonly flows: readonly TraceFlow[];
  /** Bytes of each packet, 0 to Limit.ReadBytes. */
  readonly snapLength: number;
}

/** Bytes that wait for a slow reader before it loses packets. With all readers that are possible (Limit.Taps): 8 MiB. */
export const MOST_WAITING_BYTES = 1024 * 1024;
/** What a reader gets at once: it also becomes text as a whole. */
const MOST_GIVEN_BYTES = 64 * 1024;
/** What V8 needs for a record beside the bytes of its packet. test/trace/reader.test.ts measures it. */
const RECORD_BYTES = 512;

/** Memory of a record with `captured` bytes of its packet. */
export function waitingBytes(captured: number): number {
  return RECORD_BYTES + captured;
}

/** Arrays of packets, in the order of their times as far as they came together; it ends after `close`. */
export class TraceReader implements AsyncIterable<readonly CapturedTrace[]> {
  /** Packets that were wanted and are not given, exact once `close` has resolved. */
  lost = 0;
  private readonly waiting: CapturedTrace[] = [];
  private reserved = 0;
  private ended = false;
  private wake: () => void = () => {};

  constructor(
    readonly options: TraceOptions,
    /** Change what is wanted. @throws ImageError if the flows do not fit */
    readonly setFlows: (flows: readonly TraceFlow[]) => Promise<void>,
    /** Take what is still on its way, then end. Closing twice is harmless. */
    readonly close: () => Promise<void>,
  ) {}

  /** Take room for one more packet. @returns false if there is none; count the packet in `lost` then */
  reserve(captured: number): boolean {
    const bytes = waitingBytes(captured);
    if (this.reserved + bytes > MOST_WAITING_BYTES) return false;
    this.reserved += bytes;
    return true;
  }

  /** For the tracer: packets that `reserve` had room for. */
  give(packets: readonly CapturedTrace[]): void {
    for (const packet of packets) this.waiting.push(packet);
    this.wake();
  }

  /** For the tracer: nothing more comes. */
  end(): void {
    this.ended = true;
    this.wake();
  }

  /** What is given keeps its room until the next is asked for: a reader may still write it to a slow client. */
  async *[Symbol.asyncIterator](): AsyncGenerator<readonly CapturedTrace[]> {
    while (true) {
      if (this.waiting.length > 0) {
        const { packets, bytes } = this.next();
        yield packets;
        this.reserved -= bytes;
      } else if (this.ended) return;
      else
        await new Promise<void>(resolve => {
          this.wake = resolve;
        });
    }
  }

  private next(): { packets: CapturedTrace[]; bytes: number } {
    let bytes = 0;
    let count = 0;
    while (count < this.waiting.length && bytes < MOST_GIVEN_BYTES)
      bytes += waitingBytes(this.waiting[count++]!.packet.length);
    return { packets: this.waiting.splice(0, count), bytes };
  }
}
