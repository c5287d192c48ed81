/** The production core without a kernel: packets in, decisions out. No root, no native code, no threads. */
import { ImageStore, memoryBytes } from '../core/image.js';
import { reasonNames } from '../core/reason.js';
import { type Core, compileCore, createMemory, instantiateCore, workerArea } from '../core/wasm.js';
import type { Config, Stream, Target } from '../types/config.js';

/** What the core answers for one packet. Names are those of the configuration. */
export interface Decision {
  readonly reason: string;
  readonly flow: string | null;
  readonly stream: string | null;
  /** null unless a flow matched. */
  readonly hash: number | null;
  readonly identifier: number | null;
  /** null: the packet is dropped. */
  readonly fwmark: number | null;
}

/** One fragment of a packet. */
export interface Fragment {
  readonly first: boolean;
  /** The same text for all fragments of a packet. */
  readonly packet: string;
}

const ARENA_BYTES = 512 * 1024 * 1024;
const NONE = 0xffffffff;

export class Simulator {
  private readonly names: readonly string[];
  private readonly view: DataView;
  private readonly packet: number;
  private readonly descriptor: number;
  private readonly area: number;

  private constructor(
    private readonly core: Core,
    private readonly images: ImageStore,
  ) {
    this.names = reasonNames(core);
    this.view = new DataView(images.memory.buffer);
    this.area = workerArea(core, 0);
    this.packet = this.area + core.Region.WorkerPackets;
    this.descriptor = this.area + core.Region.WorkerDescriptors;
  }

  /** @param isActive targets that take traffic; default: all */
  static fromConfig(config: Config, isActive?: (stream: Stream, target: Target) => boolean): Simulator {
    const module = compileCore();
    const layout = instantiateCore(module, createMemory(16 * 65536));
    const memory = createMemory(memoryBytes(layout, 1, ARENA_BYTES));
    const core = instantiateCore(module, memory);
    const images = new ImageStore(core, memory, 1);
    images.publish(config, isActive);
    return new Simulator(core, images);
  }

  /** Decide by `config` from now on; counters of flows that it has too go on. */
  async configure(config: Config): Promise<void> {
    this.images.publish(config);
    await this.images.retire();
  }

  /** @param packet bytes from the IP header on; @param wireLength its length on the wire, if it was cut short */
  decide(packet: Uint8Array, wireLength = packet.length): Decision {
    const { core, view, descriptor } = this;
    const { Layout } = core;
    const length = Math.min(packet.length, core.Region.PacketSize);
    new Uint8Array(view.buffer, this.packet, length).set(packet.subarray(0, length));
    view.setUint32(descriptor + Layout.DescriptorOffset, this.packet, true);
    view.setUint32(descriptor + Layout.DescriptorLength, length, true);
    view.setUint32(descriptor + Layout.DescriptorWireLength, wireLength, true);
    core.decide(this.area, 0, 1);
    core.rest(this.area);

    const field = (offset: number): number => view.getUint32(descriptor + offset, true);
    const image = this.images.current!;
    const flow = field(Layout.DescriptorFlow);
    const stream = field(Layout.DescriptorStream);
    const target = field(Layout.DescriptorTarget);
    return {
      reason: this.names[field(Layout.DescriptorReason)]!,
      flow: flow === NONE ? null : image.flows[flow]!.name,
      stream: stream === NONE ? null : image.streams[stream]!.stream.name,
      hash: flow === NONE ? null : field(Layout.DescriptorHash),
      identifier: target === NONE ? null : target + 1,
      fwmark: field(Layout.DescriptorVerdict) === 0 ? null : field(Layout.DescriptorMark),
    };
  }

  /** What the packet of the last `decide` is a fragment of; null: it is whole. */
  get fragment(): Fragment | null {
    const { core, view, area } = this;
    const kind = view.getUint32(this.descriptor + core.Layout.DescriptorFragment, true);
    if (kind === 0) return null;
    // What tells fragments apart is the outer header's: the key is that of a packet inside, where there is one.
    const bytes = Buffer.from(view.buffer, this.packet, core.Region.PacketSize);
    const id = view.getUint32(area + core.Region.WorkerKey + core.Layout.ParsedFragmentId, true);
    // The fragments of an IPv6 packet may differ in their next headers (RFC 8200, section 4.5).
    const [addresses, protocol] =
      bytes[0]! >> 4 === 4
        ? [bytes.toString('hex', 12, 20), bytes[9]]
        : [bytes.toString('hex', 8, 40), 'ipv6'];
    return { first: kind === 1, packet: `${addresses}/${protocol}/${id}` };
  }

  /** Packets that the flow `name` matched so far. */
  matches(name: string): number {
    return this.images.counters.read(name);
  }

  /** The Maglev table of a stream: target index by slot, 0xffff where nobody is. */
  table(stream: string): Uint16Array {
    const found = this.images.current!.streams.find(each => each.stream.name === stream);
    if (found === undefined) throw new RangeError(`there is no stream ${stream}`);
    return this.images.table(found);
  }
}
