/** Who watches is told to the workers, and what they wrote down is given to who wanted it. */
import { setTimeout as delay } from 'node:timers/promises';
import { listedFlows, writeFlowRecords } from '../core/flow-records.js';
import type { Image, ImageStore } from '../core/image.js';
import { workerArea } from '../core/wasm.js';
import { TraceError } from '../types/errors.js';
import type { CapturedTrace, TraceFlow } from '../types/trace.js';
import { wallClock } from './clock.js';
import { type TraceOptions, TraceReader } from './reader.js';
import { RecordReader } from './record.js';
import { Ring } from './ring.js';

export interface TracerOptions {
  readonly images: ImageStore;
  /** Queue of the first worker. */
  readonly firstQueue: number;
  /** Of one worker, a power of two. */
  readonly ringBytes?: number;
}

/** Some 16,000 decisions or 3,200 packets of 512 bytes: at 300,000 a second, 50 ms of decisions. */
const RING_BYTES = 2 * 1024 * 1024;
const LOOK_MS = 10;
/** Records of one look in all: the main thread has other things to do, and what is too much is better lost in the ring. */
const MOST_RECORDS = 2048;

/** A reader at work, at its place in the list of taps. */
interface Tap {
  readonly reader: TraceReader;
  flows: readonly TraceFlow[];
  /** Its flows by the number of the Tracing that had them, as long as records may name them. */
  readonly flowsBy: Map<number, readonly TraceFlow[]>;
  /** Nothing more is wanted; what is on its way is. */
  closing: boolean;
  /** What the rings had lost at this place before it came. */
  readonly lostBefore: number;
  /** What found no room behind the rings. */
  overflowed: number;
  readonly wall: (monotonicNs: number) => number;
}

export class Tracer {
  private readonly taps: (Tap | null)[];
  private readonly records: RecordReader;
  private readonly words: Int32Array;
  private readonly tracingAt: number;
  /** Images by generation, as long as records may name them. */
  private readonly generations = new Map<number, Image>();
  private rings: { readonly address: number; readonly each: readonly Ring[] } | null = null;
  private blocks: readonly number[] = [];
  private number = 0;
  private looking: NodeJS.Timeout | null = null;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: TracerOptions) {
    const { core, memory, current } = options.images;
    this.taps = new Array<Tap | null>(core.Limit.Taps).fill(null);
    this.records = new RecordReader(core, memory);
    this.words = new Int32Array(memory.buffer);
    this.tracingAt = core.Region.Control + core.Layout.ControlTracing;
    if (current !== null) this.generations.set(current.generation, current);
    options.images.onPublish = image => this.remember(image);
  }

  /**
   * Begin to watch: resolves once every worker writes down what is wanted.
   * @throws TraceError if too many do already, ImageError if the flows do not fit
   */
  open(options: TraceOptions): Promise<TraceReader> {
    return this.inTurn(async () => {
      const place = this.taps.indexOf(null);
      if (place < 0)
        throw new TraceError(`${this.taps.length} traces and captures run already; no more are possible`);
      const rings = this.placeRings();
      const tap: Tap = {
        reader: new TraceReader(
          options,
          flows => this.inTurn(() => this.setFlows(tap, flows)),
          () => this.inTurn(() => this.close(place, tap)),
        ),
        flows: options.flows,
        flowsBy: new Map(),
        closing: false,
        lostBefore: rings.each.reduce((sum, ring) => sum + ring.lost(place), 0),
        overflowed: 0,
        wall: wallClock(),
      };
      this.taps[place] = tap;
      try {
        await this.publish();
      } catch (error) {
        this.taps[place] = null;
        throw error;
      }
      this.looking ??= setInterval(() => this.look(MOST_RECORDS), LOOK_MS);
      return tap.reader;
    });
  }

  private async setFlows(tap: Tap, flows: readonly TraceFlow[]): Promise<void> {
    const former = tap.flows;
    tap.flows = flows;
    try {
      await this.publish();
    } catch (error) {
      tap.flows = former;
      throw error;
    }
  }

  private async close(place: number, tap: Tap): Promise<void> {
    if (this.taps[place] !== tap) return;
    tap.closing = true;
    await this.publish();
    this.look(Number.POSITIVE_INFINITY);
    this.taps[place] = null;
    tap.reader.end();
    if (this.looking !== null && this.taps.every(other => other === null)) {
      clearInterval(this.looking);
      this.looking = null;
    }
  }

  /** Have the workers follow `this.taps`; resolves once none of them writes by the former ones. */
  private async publish(): Promise<void> {
    const { images } = this.options;
    const former = this.blocks;
    const number = this.number + 1;
    const [address, blocks] = this.write(number);
    this.number = number;
    this.blocks = blocks;
    for (const tap of this.taps) tap?.flowsBy.set(number, tap.flows);
    Atomics.store(this.words, this.tracingAt / 4, address);
    while (!this.everyWorkerPassed(address)) await delay(1);
    for (const block of former) images.arena.free(block);
  }

  /** Address of the Tracing of all taps, 0 where there is none, and what was allocated for it. */
  private write(number: number): [address: number, blocks: number[]] {
    const { core, memory, arena } = this.options.images;
    const { Layout } = core;
    const taps = this.taps.map(tap => (tap === null || tap.closing ? null : tap));
    if (taps.every(tap => tap === null)) return [0, []];
    const blocks: number[] = [];
    const allocate = (bytes: number): number => {
      const address = arena.allocate(bytes);
      blocks.push(address);
      return address;
    };
    try {
      const address = allocate(Layout.TracingBytes);
      const headers = allocate(taps.length * Layout.HeaderBytes);
      new Uint8Array(memory.buffer, headers, taps.length * Layout.HeaderBytes).fill(0);
      const view = new DataView(memory.buffer);
      const word = (at: number, value: number): void => view.setUint32(at, value, true);
      taps.forEach((tap, place) => {
        if (tap === null) return;
        const records = tap.flows.map(conditions => ({ conditions, stream: 0, counter: 0, encapPort: 0 }));
        const flows = writeFlowRecords(core, memory, listedFlows(records), allocate);
        const at = headers + place * Layout.HeaderBytes;
        word(at + Layout.HeaderGeneration, 1);
        word(at + Layout.HeaderFlows, flows.address);
        word(at + Layout.HeaderFlowCount, flows.count);
      });
      word(address + Layout.TracingRings, this.placeRings().address);
      word(address + Layout.TracingTaps, headers);
      word(address + Layout.TracingTapCount, taps.length);
      const snapLengths = taps.map(tap => tap?.reader.options.snapLength ?? 0);
      word(address + Layout.TracingSnapLength, Math.max(...snapLengths));
      word(address + Layout.TracingNumber, number);
      return [address, blocks];
    } catch (error) {
      for (const block of blocks) arena.free(block);
      throw error;
    }
  }

  /** Made for the first reader and kept: a worker may be writing into them at any time after. */
  private placeRings(): { readonly address: number; readonly each: readonly Ring[] } {
    if (this.rings !== null) return this.rings;
    const { core, memory, arena, workers } = this.options.images;
    const size = this.options.ringBytes ?? RING_BYTES;
    const address = arena.allocate(workers * core.Layout.RingBytes + workers * size);
    const data = address + workers * core.Layout.RingBytes;
    const each = Array.from({ length: workers }, (_, worker) =>
      Ring.place(core, memory, address + worker * core.Layout.RingBytes, data + worker * size, size),
    );
    this.rings = { address, each };
    return this.rings;
  }

  private everyWorkerPassed(address: number): boolean {
    const { core, workers } = this.options.images;
    for (let worker = 0; worker < workers; worker++) {
      const at = workerArea(core, worker) + core.Region.WorkerState + core.Layout.WorkerTracing;
      const used = Atomics.load(this.words, at / 4) >>> 0;
      if (used !== 0 && used !== address) return false;
    }
    return true;
  }

  /** Take at most `most` records and give them out. */
  private look(most: number): void {
    const { images, firstQueue } = this.options;
    const rings = this.placeRings().each;
    const { settled } = images;
    const found = this.taps.map((): CapturedTrace[] => []);
    let all = true;
    rings.forEach((ring, worker) => {
      const drained = ring.read(Math.ceil(most / rings.length), address =>
        this.giveOut(address, firstQueue + worker, found),
      );
      all &&= drained;
    });
    this.taps.forEach((tap, place) => {
      if (tap === null) return;
      const packets = found[place]!;
      tap.reader.lost =
        tap.overflowed + rings.reduce((sum, ring) => sum + ring.lost(place), 0) - tap.lostBefore;
      if (packets.length > 0) tap.reader.give(packets.sort((one, other) => one.timeUs - other.timeUs));
    });
    // What comes from now on was decided by the published image.
    if (all && settled) this.forget();
  }

  private giveOut(address: number, queue: number, found: readonly CapturedTrace[][]): void {
    const wanted = this.records.taps(address);
    const image = this.generations.get(this.records.generation(address));
    const number = this.records.tracing(address);
    this.taps.forEach((tap, place) => {
      if ((wanted & (1 << place)) === 0 || tap === null) return;
      const { snapLength } = tap.reader.options;
      if (image === undefined || !tap.reader.reserve(this.records.captured(address, snapLength))) {
        tap.overflowed++;
        return;
      }
      const match = this.records.matched(address, place);
      found[place]!.push({
        queue,
        timeUs: tap.wall(this.records.time(address)),
        traceFlow: match === null ? null : tap.flowsBy.get(number)![match]!.name,
        ...this.records.read(address, image, snapLength),
      });
    });
  }

  private remember(image: Image): void {
    // A worker may still decide by the former one when somebody begins to watch.
    if (this.looking === null)
      for (const generation of this.generations.keys())
        if (generation < image.generation - 1) this.generations.delete(generation);
    this.generations.set(image.generation, image);
  }

  private forget(): void {
    const { current } = this.options.images;
    for (const tap of this.taps)
      for (const number of tap?.flowsBy.keys() ?? [])
        if (number < this.number - 1) tap!.flowsBy.delete(number);
    for (const generation of this.generations.keys())
      if (generation !== current?.generation) this.generations.delete(generation);
  }

  /** One change after the other. */
  private inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(change);
    this.turn = result.catch(() => undefined);
    return result;
  }
}
