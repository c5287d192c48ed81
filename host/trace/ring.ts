/**
 * The main thread's end of one worker's ring; the other is assembly/trace.ts. Contract of this room: what workers wrote down
 * is read here and given to whoever asks; it needs a memory and its images, and knows no daemon.
 */
import type { Core } from '../core/wasm.js';

export class Ring {
  private readonly words: Int32Array;
  private readonly counters: BigUint64Array;
  private readonly data: number;
  private readonly size: number;

  /** @param address of the TraceRing; `place` made it */
  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly address: number,
  ) {
    this.words = new Int32Array(memory.buffer);
    this.counters = new BigUint64Array(memory.buffer);
    this.data = this.words[(address + core.Layout.RingData) / 4]! >>> 0;
    this.size = this.words[(address + core.Layout.RingSize) / 4]! >>> 0;
  }

  /** Make an empty ring at `address` whose `size` bytes (a power of two) are at `data`. No worker may know it yet. */
  static place(core: Core, memory: WebAssembly.Memory, address: number, data: number, size: number): Ring {
    const { Layout } = core;
    new Uint8Array(memory.buffer, address, Layout.RingBytes).fill(0);
    const view = new DataView(memory.buffer);
    view.setUint32(address + Layout.RingData, data, true);
    view.setUint32(address + Layout.RingSize, size, true);
    return new Ring(core, memory, address);
  }

  /**
   * Call `take` with the address of each record that is there, `most` at most; its bytes are the worker's again afterwards.
   * @returns whether none is left of those that were there
   */
  read(most: number, take: (address: number) => void): boolean {
    const { Layout } = this.core;
    const head = Atomics.load(this.words, (this.address + Layout.RingHead) / 4);
    const tailAt = (this.address + Layout.RingTail) / 4;
    let tail = Atomics.load(this.words, tailAt);
    for (let taken = 0; tail !== head; ) {
      if (taken === most) return false;
      const record = this.data + ((tail >>> 0) & (this.size - 1));
      const taps = this.words[(record + Layout.RecordTaps) / 4]!;
      // Without taps it fills the end of the ring.
      if (taps !== 0) {
        take(record);
        taken++;
      }
      tail = (tail + this.words[(record + Layout.RecordBytes) / 4]!) | 0;
      Atomics.store(this.words, tailAt, tail);
    }
    return true;
  }

  /** Packets for tap `tap` that found no room, ever. */
  lost(tap: number): number {
    return Number(Atomics.load(this.counters, (this.address + this.core.Layout.RingLost) / 8 + tap));
  }
}
