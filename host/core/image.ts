/**
 * The images that the workers decide by: built in the spare one, published by one atomic store, the former one freed when
 * no worker uses it any more. Nothing that a worker may be reading is ever written.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { unitedRanges, withoutCovered } from '../types/address.js';
import type {
  ByteMatch,
  Config,
  Flow,
  PortRange,
  Prefix,
  Protocol,
  Stream,
  Target,
} from '../types/config.js';
import { Arena } from './arena.js';
import { FlowCounters } from './counters.js';
import { addressBytes, maskBytes } from './key.js';
import { type Core, workerArea } from './wasm.js';

/** One flow as the core sees it: by priority; hidden ones find UDP-encapsulated SCTP. */
export interface ImageFlow {
  readonly name: string;
  readonly flow: Flow;
  /** Hidden flow of `flow.udpEncapPort`. */
  readonly hidden: boolean;
}

/** What one generation was made of; indexes are those in descriptors. */
export interface Image {
  readonly generation: number;
  readonly config: Config;
  readonly flows: readonly ImageFlow[];
  readonly streams: readonly ImageStream[];
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

/** An array in the arena. */
interface Place {
  readonly address: number;
  readonly count: number;
}

interface Blocks {
  readonly own: number[];
  /** Tables by what they depend on, so that an unchanged stream keeps its table. */
  readonly tables: Map<string, number>;
}

/** Most bytes of the arena are never touched, so they cost address space only. */
export const ARENA_BYTES = 512 * 1024 * 1024;

/** Bytes of the memory for `workers` worker areas and the arena. */
export function memoryBytes(core: Pick<Core, 'Region'>, workers: number, arenaBytes = ARENA_BYTES): number {
  return core.Region.Workers + workers * core.Region.WorkerSize + arenaBytes;
}

/** Flows in the order in which the core tries them, hidden ones before the flow they belong to. */
export function orderedFlows(config: Config): ImageFlow[] {
  return config.flows
    .toSorted((one, other) => other.priority - one.priority)
    .flatMap(flow => [
      ...(flow.udpEncapPort === null ? [] : [{ name: `#${flow.name}`, flow, hidden: true }]),
      { name: flow.name, flow, hidden: false },
    ]);
}

export class ImageStore {
  readonly counters: FlowCounters;
  private readonly arena: Arena;
  private readonly view: DataView;
  private readonly words: Int32Array;
  private image: Image | null = null;
  private blocks: Blocks = { own: [], tables: new Map() };
  private retired: Blocks | null = null;

  constructor(
    readonly core: Core,
    readonly memory: WebAssembly.Memory,
    private readonly workers: number,
  ) {
    this.view = new DataView(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    this.arena = new Arena(workerArea(core, workers), memory.buffer.byteLength);
    this.counters = new FlowCounters(core, memory, workers);
  }

  /** The published image. */
  get current(): Image | null {
    return this.image;
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
   * Build the image of `config` and publish it. Call `retire` before the next one.
   * @param isActive targets that take traffic
   * @throws ImageError if it does not fit; the published image stays
   */
  publish(config: Config, isActive: (stream: Stream, target: Target) => boolean = () => true): Image {
    if (this.retired !== null) throw new Error('an image was published before the former one was retired');
    const generation = (this.image?.generation ?? 0) + 1;
    const blocks: Blocks = { own: [], tables: new Map() };
    try {
      const flows = orderedFlows(config);
      const streams = config.streams.map(stream => this.placeStream(stream, isActive, blocks));
      const header = this.core.Region.Headers + (generation & 1) * this.core.Region.HeaderSize;
      this.writeHeader(
        header,
        generation,
        config,
        this.writeFlows(flows, config, blocks),
        this.writeStreams(streams, blocks),
      );
      this.retired = this.image === null ? null : this.blocks;
      this.blocks = blocks;
      this.image = { generation, config, flows, streams };
    } catch (error) {
      this.release(blocks, this.blocks);
      throw error;
    }
    Atomics.store(
      this.words,
      (this.core.Region.Control + this.core.Layout.ControlGeneration) / 4,
      generation,
    );
    return this.image;
  }

  /** Wait until no worker uses a former image, then free it. */
  async retire(): Promise<void> {
    const { retired, image } = this;
    if (retired === null || image === null) return;
    while (!this.everyWorkerPassed(image.generation)) await delay(1);
    this.retired = null;
    this.release(retired, this.blocks);
    this.counters.keep(new Set(image.flows.map(({ name }) => name)));
  }

  private everyWorkerPassed(generation: number): boolean {
    for (let worker = 0; worker < this.workers; worker++) {
      const at = workerArea(this.core, worker) + this.core.Region.WorkerState + this.core.Layout.WorkerEpoch;
      const epoch = Atomics.load(this.words, at / 4);
      if (epoch !== 0 && epoch !== generation) return false;
    }
    return true;
  }

  /** Free what `blocks` has and `kept` has not. */
  private release(blocks: Blocks, kept: Blocks): void {
    const stays = new Set(kept.tables.values());
    for (const address of [...blocks.own, ...blocks.tables.values()])
      if (!stays.has(address)) this.arena.free(address);
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
  ): ImageStream {
    const tableSize = this.core.primeAtMost(stream.tableSize);
    const active = stream.targets
      .filter(target => isActive(stream, target))
      .toSorted((one, other) => one.identifier - other.identifier);
    const key = `${tableSize}/${stream.maxTargets}/${active.map(target => target.identifier).join(',')}`;
    const table =
      blocks.tables.get(key) ??
      this.blocks.tables.get(key) ??
      this.populate(tableSize, stream.maxTargets, active);
    blocks.tables.set(key, table);
    return { stream, tableSize, active, table };
  }

  private populate(tableSize: number, maxTargets: number, active: readonly Target[]): number {
    const table = this.arena.allocate(tableSize * 2);
    const scratchBytes = this.core.populateScratchBytes(maxTargets);
    let scratch: number;
    try {
      scratch = this.arena.allocate(scratchBytes + maxTargets);
    } catch (error) {
      this.arena.free(table);
      throw error;
    }
    const flags = new Uint8Array(this.memory.buffer, scratch + scratchBytes, maxTargets).fill(0);
    for (const target of active) flags[target.identifier - 1] = 1;
    const reason = this.core.populate(table, tableSize, scratch + scratchBytes, maxTargets, scratch);
    this.arena.free(scratch);
    if (reason !== this.core.Reason.Ok)
      throw new Error(`populate answered ${reason} for a table of ${tableSize}`);
    return table;
  }

  private writeStreams(streams: readonly ImageStream[], blocks: Blocks): Place {
    const { Layout } = this.core;
    const address = this.allocate(streams.length * Layout.StreamBytes, blocks);
    streams.forEach(({ stream, tableSize, active, table }, index) => {
      const marks = this.allocate(stream.maxTargets * 4, blocks);
      for (const target of stream.targets) this.word(marks + (target.identifier - 1) * 4, target.fwmark);
      const at = address + index * Layout.StreamBytes;
      this.clear(at, Layout.StreamBytes);
      this.word(at + Layout.StreamTable, table);
      this.word(at + Layout.StreamSize, tableSize);
      this.word(at + Layout.StreamMarks, marks);
      this.word(at + Layout.StreamTargetCount, stream.maxTargets);
      this.word(at + Layout.StreamActiveCount, active.length);
    });
    return { address, count: streams.length };
  }

  private writeFlows(flows: readonly ImageFlow[], config: Config, blocks: Blocks): Place {
    const { Layout, Protocols } = this.core;
    const bits: Record<Protocol, number> = { tcp: Protocols.Tcp, udp: Protocols.Udp, sctp: Protocols.Sctp };
    const address = this.allocate(flows.length * Layout.FlowBytes, blocks);
    flows.forEach(({ name, flow, hidden }, index) => {
      const at = address + index * Layout.FlowBytes;
      const protocols: readonly Protocol[] = hidden ? ['udp'] : flow.protocols;
      const encapPort = flow.udpEncapPort ?? 0;
      const destinationPorts = hidden ? [{ first: encapPort, last: encapPort }] : flow.destinationPortRanges;
      this.clear(at, Layout.FlowBytes);
      this.word(
        at + Layout.FlowProtocols,
        protocols.reduce((sum, protocol) => sum | bits[protocol], 0),
      );
      this.word(
        at + Layout.FlowStream,
        config.streams.findIndex(stream => stream.name === flow.stream),
      );
      this.word(at + Layout.FlowCounter, this.counters.indexOf(name));
      this.word(at + Layout.FlowEncapPort, hidden ? encapPort : 0);
      this.array(at + Layout.FlowDestinations, this.writeCidrs(flow.vips, blocks));
      this.array(at + Layout.FlowSources, this.writeCidrs(flow.sourceSubnets, blocks));
      this.array(at + Layout.FlowDestinationPorts, this.writeRanges(destinationPorts, blocks));
      this.array(at + Layout.FlowSourcePorts, this.writeRanges(hidden ? [] : flow.sourcePortRanges, blocks));
      this.array(at + Layout.FlowByteMatches, this.writeByteMatches(hidden ? [] : flow.byteMatches, blocks));
    });
    return { address, count: flows.length };
  }

  /** CidrRecord[] of the same addresses; what is covered by another is left out. */
  private writeCidrs(prefixes: readonly Prefix[], blocks: Blocks): Place {
    const { CidrBytes } = this.core.Layout;
    const merged = ([4, 6] as const).flatMap(family =>
      withoutCovered(prefixes.filter(each => each.family === family)),
    );
    const bytes = new Uint8Array(this.memory.buffer);
    const address = this.allocate(merged.length * CidrBytes, blocks);
    merged.forEach((prefix, index) => {
      const mask = maskBytes(prefix);
      bytes.set(
        addressBytes(prefix).map((byte, at) => byte & mask[at]!),
        address + index * CidrBytes,
      );
      bytes.set(mask, address + index * CidrBytes + 16);
    });
    return { address, count: merged.length };
  }

  /** RangeRecord[] of the same ports; what meets or touches is one. */
  private writeRanges(ranges: readonly PortRange[], blocks: Blocks): Place {
    const { RangeBytes } = this.core.Layout;
    const merged = unitedRanges(ranges);
    const address = this.allocate(merged.length * RangeBytes, blocks);
    merged.forEach((range, index) => {
      this.view.setUint16(address + index * RangeBytes, range.first, true);
      this.view.setUint16(address + index * RangeBytes + 2, range.last, true);
    });
    return { address, count: merged.length };
  }

  private writeByteMatches(matches: readonly ByteMatch[], blocks: Blocks): Place {
    const { ByteMatchBytes } = this.core.Layout;
    const { IpProtocol } = this.core;
    const numbers: Record<Protocol, number> = {
      tcp: IpProtocol.Tcp,
      udp: IpProtocol.Udp,
      sctp: IpProtocol.Sctp,
    };
    const address = this.allocate(matches.length * ByteMatchBytes, blocks);
    matches.forEach(({ protocol, offset, width, mask, value }, index) => {
      [numbers[protocol], offset, width, mask, value].forEach((word, place) => {
        this.word(address + index * ByteMatchBytes + place * 4, word);
      });
    });
    return { address, count: matches.length };
  }

  private writeHeader(at: number, generation: number, config: Config, flows: Place, streams: Place): void {
    const { Layout } = this.core;
    this.clear(at, Layout.HeaderBytes);
    this.word(at + Layout.HeaderGeneration, generation);
    this.array(at + Layout.HeaderFlows, flows);
    this.array(at + Layout.HeaderStreams, streams);
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
