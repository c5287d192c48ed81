/** A memory with an image, whose workers are played by the test: packets are placed, decided and traced at its word. */
import { ImageStore, memoryBytes } from '../../host/core/image.js';
import { type Core, compileCore, createMemory, instantiateCore, workerArea } from '../../host/core/wasm.js';
import type { Config } from '../../host/types/config.js';

const ARENA_BYTES = 4 * 1024 * 1024;

export class Decider {
  readonly module = compileCore();
  readonly core: Core;
  readonly images: ImageStore;
  private readonly view: DataView;

  constructor(config: Config, workers = 1) {
    const scout = instantiateCore(this.module, createMemory(16 * 65536));
    const memory = createMemory(memoryBytes(scout, workers, ARENA_BYTES));
    this.core = instantiateCore(this.module, memory);
    this.images = new ImageStore(this.core, memory, workers);
    this.images.publish(config);
    this.view = new DataView(memory.buffer);
  }

  /** One batch, as worker `worker` would have it. @param time in nanoseconds */
  decide(packets: readonly Uint8Array[], worker = 0, time = 0): void {
    const area = workerArea(this.core, worker);
    this.place(packets, area);
    this.core.decide(area, 0, packets.length);
    const { Layout, Region } = this.core;
    this.view.setFloat64(area + Region.WorkerState + Layout.WorkerClock, time, true);
    if (this.watched) this.core.trace(area, 0, packets.length);
    this.core.rest(area);
  }

  get watched(): boolean {
    const { Region, Layout } = this.core;
    return this.view.getUint32(Region.Control + Layout.ControlTracing, true) !== 0;
  }

  private place(packets: readonly Uint8Array[], area: number): void {
    const { Region, Layout } = this.core;
    packets.forEach((packet, n) => {
      const at = area + Region.WorkerPackets + n * Region.PacketSize;
      const length = Math.min(packet.length, this.core.Limit.ReadBytes);
      new Uint8Array(this.view.buffer, at, length).set(packet.subarray(0, length));
      const descriptor = area + Region.WorkerDescriptors + n * Region.DescriptorSize;
      this.view.setUint32(descriptor + Layout.DescriptorOffset, at, true);
      this.view.setUint32(descriptor + Layout.DescriptorLength, length, true);
      this.view.setUint32(descriptor + Layout.DescriptorWireLength, packet.length, true);
    });
  }
}
