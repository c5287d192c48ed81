/** What the workers count: each in its own area, without a lock; read here as sums over all of them. */
import { ImageError } from '../types/errors.js';
import { type Core, workerArea } from './wasm.js';

/** Where counters stand in a worker's area, and how many there are. */
export interface CounterPlace {
  /** u64[limit] */
  readonly region: number;
  /** Index of the first that is given away. */
  readonly first: number;
  readonly limit: number;
  /** For messages. */
  readonly what: string;
}

/** One u64 a name in each worker's area, kept by the name through every change of the image. */
export class NamedCounters {
  private readonly indexes = new Map<string, number>();
  private readonly released: number[] = [];
  private readonly words: BigUint64Array;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly workers: number,
    private readonly place: CounterPlace,
  ) {
    this.words = new BigUint64Array(memory.buffer);
  }

  /** The counter of `name`, a zeroed one if it is new. @throws ImageError if there are no more */
  indexOf(name: string): number {
    const known = this.indexes.get(name);
    if (known !== undefined) return known;
    const { first, limit, what } = this.place;
    const index = this.released.pop() ?? first + this.indexes.size;
    if (index >= limit)
      throw new ImageError(`more than ${limit - first} ${what}, those of the configuration before included`);
    this.indexes.set(name, index);
    return index;
  }

  /** @param names all different. @throws ImageError if `indexOf` would refuse one of them */
  refuseTooMany(names: readonly string[]): void {
    const { first, limit, what } = this.place;
    const known = names.reduce((sum, name) => sum + (this.indexes.has(name) ? 1 : 0), 0);
    const others = this.indexes.size - known;
    if (others + names.length <= limit - first) return;
    const before = others === 0 ? '' : `, the one before ${others} that are not among them`;
    throw new ImageError(
      `more than ${limit - first} ${what}: the configuration has ${names.length}${before}`,
    );
  }

  /** Packets of `name`, in all workers. */
  read(name: string): number {
    const index = this.indexes.get(name);
    if (index === undefined) return 0;
    let sum = 0n;
    for (let worker = 0; worker < this.workers; worker++)
      sum += Atomics.load(this.words, this.word(worker, index));
    return Number(sum);
  }

  /** Forget every name that is not in `names`. Only once no worker uses an image that has them. */
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
    return (workerArea(this.core, worker) + this.place.region) / 8 + index;
  }
}

/** Packets of one verdict and reason. */
export interface ReasonCount {
  readonly verdict: 'accept' | 'drop';
  /** The core's Reason. */
  readonly reason: number;
  readonly packets: number;
  /** On the wire. */
  readonly bytes: number;
}

/** netfilter's numbers (linux/netfilter.h). */
const VERDICTS = ['drop', 'accept'] as const;

/** What worker `worker` decided, by verdict and reason; all of them, also those that never were. */
export function verdictCounts(core: Core, memory: WebAssembly.Memory, worker: number): ReasonCount[] {
  const { Layout, Limit, Reason, Region } = core;
  const view = new DataView(memory.buffer, workerArea(core, worker) + Region.WorkerReasons);
  return VERDICTS.flatMap((verdict, number) =>
    Array.from({ length: Reason.Count }, (_, reason) => {
      const at = (number * Limit.Reasons + reason) * Layout.ReasonCountBytes;
      return {
        verdict,
        reason,
        packets: Number(view.getBigUint64(at + Layout.ReasonCountPackets, true)),
        bytes: Number(view.getBigUint64(at + Layout.ReasonCountByteCount, true)),
      };
    }),
  );
}

/** Packets by reason that worker `worker` decided, indexed by the core's Reason. */
export function reasonCounts(core: Core, memory: WebAssembly.Memory, worker: number): number[] {
  const counts = new Array<number>(core.Reason.Count).fill(0);
  for (const { reason, packets } of verdictCounts(core, memory, worker)) counts[reason]! += packets;
  return counts;
}

/** Batches that worker `worker` decided, by size: up to 1, 2, 4, ... packets. */
export function batchSizes(core: Core, memory: WebAssembly.Memory, worker: number): number[] {
  const at = workerArea(core, worker) + core.Region.WorkerBatchSizes;
  return Array.from(new BigUint64Array(memory.buffer, at, core.Limit.BatchSizes), Number);
}

/** Decisions of batches that were timed. */
export interface DecisionTimes {
  readonly seconds: number;
  readonly packets: number;
  /** By duration: up to `decisionBounds` seconds, and the last beyond them. */
  readonly counts: readonly number[];
}

export function decisionTimes(core: Core, memory: WebAssembly.Memory, worker: number): DecisionTimes {
  const { Layout, Limit, Region } = core;
  const at = workerArea(core, worker) + Region.WorkerDecisionTimes;
  const view = new DataView(memory.buffer, at);
  const word = (offset: number): number => Number(view.getBigUint64(offset, true));
  return {
    seconds: word(Layout.DecisionTimesNanoseconds) / 1e9,
    packets: word(Layout.DecisionTimesPackets),
    counts: Array.from({ length: Limit.DecisionTimes }, (_, n) => word(Layout.DecisionTimesCounts + n * 8)),
  };
}

/** Seconds: the bounds of all but the last of `DecisionTimes.counts`. */
export function decisionBounds({ Limit }: Pick<Core, 'Limit'>): number[] {
  return Array.from({ length: Limit.DecisionTimes - 1 }, (_, n) => 2 ** (Limit.FirstDecisionTime + n) / 1e9);
}

/** What came of fragments; see Fragments in assembly/layout.ts. */
export interface FragmentCounts {
  readonly tracked: number;
  readonly collided: number;
  readonly evicted: number;
  readonly reused: number;
  readonly later: number;
  readonly followed: number;
  readonly held: number;
  readonly released: number;
  readonly timedOut: number;
  readonly pushedOut: number;
  /** That are held now. */
  readonly waiting: number;
  /** What the worker was set to, 0 before its start. */
  readonly timeoutMs: number;
  readonly mostHeld: number;
}

export function fragmentCounts(core: Core, memory: WebAssembly.Memory, worker: number): FragmentCounts {
  const { Layout, Region } = core;
  const area = workerArea(core, worker);
  const view = new DataView(memory.buffer, area + Region.WorkerFragments, Layout.FragmentsBytes);
  const word = (offset: number): number => Number(view.getBigUint64(offset, true));
  return {
    tracked: word(Layout.FragmentsTracked),
    collided: word(Layout.FragmentsCollided),
    evicted: word(Layout.FragmentsEvicted),
    reused: word(Layout.FragmentsReused),
    later: word(Layout.FragmentsLater),
    followed: word(Layout.FragmentsFollowed),
    held: word(Layout.FragmentsHeld),
    released: word(Layout.FragmentsReleased),
    timedOut: word(Layout.FragmentsTimedOut),
    pushedOut: word(Layout.FragmentsPushedOut),
    waiting: new DataView(memory.buffer).getUint32(area + Region.WorkerState + Layout.WorkerHeldNow, true),
    timeoutMs: view.getFloat64(Layout.FragmentsTimeout, true),
    mostHeld: view.getUint32(Layout.FragmentsMostHeld, true),
  };
}

/** Packets: the bounds of `batchSizes`. */
export function batchBounds({ Limit }: Pick<Core, 'Limit'>): number[] {
  return Array.from({ length: Limit.BatchSizes }, (_, n) => 2 ** n);
}
