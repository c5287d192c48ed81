/** Flow counters: one u64 a flow in each worker's area, kept by the flow's name through every change of the image. */
import { ImageError } from '../types/errors.js';
import { type Core, workerArea } from './wasm.js';

export class FlowCounters {
  private readonly indexes = new Map<string, number>();
  private readonly released: number[] = [];
  private readonly words: BigUint64Array;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly workers: number,
  ) {
    this.words = new BigUint64Array(memory.buffer);
  }

  /** The counter of the flow `name`, a zeroed one if it is new. */
  indexOf(name: string): number {
    const known = this.indexes.get(name);
    if (known !== undefined) return known;
    const index = this.released.pop() ?? this.indexes.size;
    if (index >= this.core.Limit.Flows) throw new ImageError(`more than ${this.core.Limit.Flows} flows`);
    this.indexes.set(name, index);
    return index;
  }

  /** Packets that the flow `name` matched, in all workers. */
  read(name: string): number {
    const index = this.indexes.get(name);
    if (index === undefined) return 0;
    let sum = 0n;
    for (let worker = 0; worker < this.workers; worker++)
      sum += Atomics.load(this.words, this.word(worker, index));
    return Number(sum);
  }

  /** Forget every flow that is not in `names`. Only once no worker uses an image that has them. */
  keep(names: ReadonlySet<string>): void {
    for (const [name, index] of this.indexes) {
      if (names.has(name)) continue;
      this.indexes.delete(name);
      for (let worker = 0; worker < this.workers; worker++)
        Atomics.store(this.words, this.word(worker, index), 0n);
      this.released.push(index);
    }
  }

  private word(worker: number, index: number): number {
    return (workerArea(this.core, worker) + this.core.Region.WorkerFlowCounters) / 8 + index;
  }
}

/** Packets by reason that worker `worker` decided, indexed by the core's Reason. */
export function reasonCounts(core: Core, memory: WebAssembly.Memory, worker: number): number[] {
  const words = new BigUint64Array(
    memory.buffer,
    workerArea(core, worker) + core.Region.WorkerReasons,
    core.Reason.Count,
  );
  return Array.from(words, Number);
}
