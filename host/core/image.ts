/**
 * The images that the workers decide by: built in the spare one, published by one atomic store, the former one freed when
 * no worker uses it any more. Nothing that a worker may be reading is ever written.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Config, Stream, Target } from '../types/config.js';
import { ImageError } from '../types/errors.js';
import { Arena } from './arena.js';
import { CLASSIFIER_LIMITS } from './classifier.js';
import { NamedCounters } from './counters.js';
import type { Place } from './flow-records.js';
import { areFlowsOf, type WrittenFlows, writeFlows } from './image-flows.js';
import {
  flowCounters,
  type ImageFlow,
  orderedFlows,
  recordsOf,
  targetCounters,
  targetKey,
  targetKeys,
} from './image-parts.js';
import { writeMarkOwners } from './mark-owners.js';
import { refuseTooManyParts } from './room.js';
import { type Core, workerArea } from './wasm.js';

/** What one generation was made of; indexes are those in descriptors. */
export interface Image {
  readonly generation: number;
  readonly config: Config;
  readonly flows: readonly ImageFlow[];
  readonly streams: readonly ImageStream[];
  /** What is to be told of it, one line each. */
  readonly warnings: readonly string[];
}

export interface ImageStream {
  readonly stream: Stream;
  /** The prime that was taken. */
  readonly tableSize: number;
  /** In ascending order of their index. */
  readonly active: readonly Target[];
  /** Address of u16[tableSize]. */
  readonly table: number;
}

interface Blocks {
  readonly own: number[];
  flows: WrittenFlows | null;
  /** Tables by what they depend on, so that an unchanged stream keeps its table. */
  readonly tables: Map<string, number>;
}

/** Most bytes of the arena are never touched, so they cost address space only. */
export const ARENA_BYTES = 512 * 1024 * 1024;

/** Bytes of the memory for `workers` worker areas and the arena. */
export function memoryBytes(core: Pick<Core, 'Region'>, workers: number, arenaBytes = ARENA_BYTES): number {
  return core.Region.Workers + workers * core.Region.WorkerSize + arenaBytes;
}

export class ImageStore {
  /** Packets that a flow matched, by its name. */
  readonly counters: NamedCounters;
  /** Packets that a target got, by `targetKey`. */
  readonly targetCounters: NamedCounters;
  /** Maglev tables that were filled anew, and how long that took in all. */
  readonly rebuilds = { count: 0, seconds: 0 };
  /** Also for what else the core reads; see host/trace. */
  readonly arena: Arena;
  /** Called with each image as it is published. */
  onPublish: ((image: Image) => void) | null = null;
  private readonly view: DataView;
  private readonly words: Int32Array;
  private image: Image | null = null;
  private blocks: Blocks = { own: [], flows: null, tables: new Map() };
  private retired: Blocks | null = null;

  constructor(
    readonly core: Core,
    readonly memory: WebAssembly.Memory,
    readonly workers: number,
    private readonly limits = CLASSIFIER_LIMITS,
  ) {
    this.view = new DataView(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    this.arena = new Arena(workerArea(core, workers), memory.buffer.byteLength);
    this.counters = new NamedCounters(core, memory, workers, flowCounters(core));
    this.targetCounters = new NamedCounters(core, memory, workers, targetCounters(core));
  }

  /** The published image. */
  get current(): Image | null {
    return this.image;
  }

  /** Whether every worker is known to use the published image or none. */
  get settled(): boolean {
    return this.retired === null;
  }

  /** Bytes of the arena in use. */
  get usedBytes(): number {
    return this.arena.used;
  }

  /** u16[tableSize] of a stream of the current image: target index, or 0xffff. */
  table(stream: ImageStream): Uint16Array {
    return new Uint16Array(this.memory.buffer, stream.table, stream.tableSize);
  }

  /**
   * Ask what can be known before anything is built. What passes may still not fit: pieces of the memory lie apart.
   * @throws ImageError if there are too many flows, parts of flows or targets
   */
  refuseTooLarge(config: Config, flows: readonly ImageFlow[] = orderedFlows(config)): void {
    this.counters.refuseTooMany(flows.map(({ name }) => name));
    this.targetCounters.refuseTooMany(targetKeys(config.streams));
    if (this.flowsOf(config) === null) refuseTooManyParts(this.core, config, this.arena.freeBytes);
  }

  /**
   * Build the image of `config` and publish it. Call `retire` before the next one.
   * @param isActive targets that take traffic
   * @throws ImageError if it does not fit; the published image stays
   */
  publish(config: Config, isActive: (stream: Stream, target: Target) => boolean = () => true): Image {
    if (this.retired !== null) throw new Error('an image was published before the former one was retired');
    const flows = orderedFlows(config);
    this.refuseTooLarge(config, flows);
    const generation = (this.image?.generation ?? 0) + 1;
    const blocks: Blocks = { own: [], flows: this.flowsOf(config), tables: new Map() };
    try {
      const unfilled: ImageStream[] = [];
      const streams = config.streams.map(stream => this.placeStream(stream, isActive, blocks, unfilled));
      const header = this.core.Region.Headers + (generation & 1) * this.core.Region.HeaderSize;
      blocks.flows ??= writeFlows(
        { core: this.core, memory: this.memory, arena: this.arena, limits: this.limits },
        config,
        recordsOf(flows, config, name => this.counters.indexOf(name)),
      );
      const written = blocks.flows;
      const records = this.writeStreams(streams, blocks);
      const owners = writeMarkOwners(this.core, this.memory, config.streams, bytes =>
        this.allocate(bytes, blocks),
      );
      this.writeHeader(header, generation, config, written, records, owners);
      // Last, since it takes longest: what does not fit is known by now.
      for (const stream of unfilled) this.populate(stream);
      this.retired = this.image === null ? null : this.blocks;
      this.blocks = blocks;
      this.image = { generation, config, flows, streams, warnings: written.warnings };
    } catch (error) {
      this.release(blocks, this.blocks);
      // Else the next configuration would find their counters taken.
      this.keepCounters(this.image);
      throw error;
    }
    Atomics.store(
      this.words,
      (this.core.Region.Control + this.core.Layout.ControlGeneration) / 4,
      generation,
    );
    this.onPublish?.(this.image);
    return this.image;
  }

  /** Wait until no worker uses a former image, then free it. */
  async retire(): Promise<void> {
    const { retired, image } = this;
    if (retired === null || image === null) return;
    while (!this.everyWorkerPassed(image.generation)) await delay(1);
    this.retired = null;
    this.release(retired, this.blocks);
    this.keepCounters(image);
  }

  /** Give back the counters of all that `image` has not. Only once no worker uses another one. */
  private keepCounters(image: Image | null): void {
    this.counters.keep(new Set(image?.flows.map(({ name }) => name)));
    this.targetCounters.keep(new Set(targetKeys(image?.streams.map(({ stream }) => stream) ?? [])));
  }

  private everyWorkerPassed(generation: number): boolean {
    for (let worker = 0; worker < this.workers; worker++) {
      const at = workerArea(this.core, worker) + this.core.Region.WorkerState + this.core.Layout.WorkerEpoch;
      const epoch = Atomics.load(this.words, at / 4);
      if (epoch !== 0 && epoch !== generation) return false;
    }
    return true;
  }

  /** The flows of the published image, if they are those of `config` too. */
  private flowsOf(config: Config): WrittenFlows | null {
    const { flows } = this.blocks;
    return flows !== null && areFlowsOf(flows, config) ? flows : null;
  }

  /** Free what `blocks` has and `kept` has not. */
  private release(blocks: Blocks, kept: Blocks): void {
    const stays = new Set(kept.tables.values());
    for (const address of [...blocks.own, ...blocks.tables.values()])
      if (!stays.has(address)) this.arena.free(address);
    if (blocks.flows !== kept.flows)
      for (const address of blocks.flows?.addresses ?? []) this.arena.free(address);
  }

  private allocate(bytes: number, blocks: Blocks): number {
    const address = this.arena.allocate(bytes);
    blocks.own.push(address);
    return address;
  }

  private placeStream(
    stream: Stream,
    isActive: (stream: Stream, target: Target) => boolean,
    blocks: Blocks,
    unfilled: ImageStream[],
  ): ImageStream {
    const tableSize = this.core.primeAtMost(stream.tableSize);
    const active = stream.targets
      .filter(target => isActive(stream, target))
      .toSorted((one, other) => one.identifier - other.identifier);
    const key = `${tableSize}/${stream.maxTargets}/${active.map(target => target.identifier).join(',')}`;
    const former = blocks.tables.get(key) ?? this.blocks.tables.get(key);
    const table = former ?? this.allocateTable(stream, tableSize);
    blocks.tables.set(key, table);
    const placed = { stream, tableSize, active, table };
    if (former === undefined) unfilled.push(placed);
    return placed;
  }

  private allocateTable({ name }: Stream, tableSize: number): number {
    try {
      return this.arena.allocate(2 * tableSize);
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      throw new ImageError(`the table of stream ${name}, ${tableSize} slots: ${error.message}`);
    }
  }

  private populate({ stream: { maxTargets }, tableSize, active, table }: ImageStream): void {
    const scratchBytes = this.core.populateScratchBytes(maxTargets);
    const scratch = this.arena.allocate(scratchBytes + maxTargets);
    const flags = new Uint8Array(this.memory.buffer, scratch + scratchBytes, maxTargets).fill(0);
    for (const target of active) flags[target.identifier - 1] = 1;
    const began = performance.now();
    const reason = this.core.populate(table, tableSize, scratch + scratchBytes, maxTargets, scratch);
    this.rebuilds.count++;
    this.rebuilds.seconds += (performance.now() - began) / 1000;
    this.arena.free(scratch);
    if (reason !== this.core.Reason.Ok)
      throw new Error(`populate answered ${reason} for a table of ${tableSize}`);
  }

  private writeStreams(streams: readonly ImageStream[], blocks: Blocks): Place {
    const { Layout } = this.core;
    const address = this.allocate(streams.length * Layout.StreamBytes, blocks);
    streams.forEach(({ stream, tableSize, table }, index) => {
      const targets = this.allocate(stream.maxTargets * Layout.TargetBytes, blocks);
      // Those that are not there have no counter.
      this.clear(targets, stream.maxTargets * Layout.TargetBytes);
      for (const target of stream.targets) {
        const record = targets + (target.identifier - 1) * Layout.TargetBytes;
        this.word(record + Layout.TargetMark, target.fwmark);
        this.word(record + Layout.TargetCounter, this.targetCounters.indexOf(targetKey(stream, target)));
      }
      const at = address + index * Layout.StreamBytes;
      this.clear(at, Layout.StreamBytes);
      this.word(at + Layout.StreamTable, table);
      this.word(at + Layout.StreamSize, tableSize);
      this.word(at + Layout.StreamTargets, targets);
      this.word(at + Layout.StreamTargetCount, stream.maxTargets);
    });
    return { address, count: streams.length };
  }

  private writeHeader(
    at: number,
    generation: number,
    config: Config,
    flows: WrittenFlows,
    streams: Place,
    owners: Place,
  ): void {
    const { Layout } = this.core;
    this.clear(at, Layout.HeaderBytes);
    this.word(at + Layout.HeaderGeneration, generation);
    this.array(at + Layout.HeaderFlows, flows);
    this.word(at + Layout.HeaderClassifier, flows.classifier);
    this.array(at + Layout.HeaderStreams, streams);
    this.array(at + Layout.HeaderOwners, owners);
    this.word(at + Layout.HeaderSctpPortsHash, config.hashMode === 'sctp-ports' ? 1 : 0);
    this.word(at + Layout.HeaderPromiscuousPing, config.promiscuousPing ? 1 : 0);
    this.word(at + Layout.HeaderMarkNoFlow, config.noFlowFwmark === null ? 0 : 1);
    this.word(at + Layout.HeaderNoFlowMark, config.noFlowFwmark ?? 0);
    this.word(at + Layout.HeaderMarkNoTarget, config.noTargetsFwmark === null ? 0 : 1);
    this.word(at + Layout.HeaderNoTargetMark, config.noTargetsFwmark ?? 0);
  }

  private word(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  /** Address and count stand side by side in every record. */
  private array(at: number, { address, count }: Place): void {
    this.word(at, count === 0 ? 0 : address);
    this.word(at + 4, count);
  }

  private clear(at: number, bytes: number): void {
    new Uint8Array(this.memory.buffer, at, bytes).fill(0);
  }
}
