/** The workers, one thread a queue, behind one start and one stop. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { fragmentCounts, verdictCounts } from '../core/counters.js';
import { type Core, instantiateCore, workerArea } from '../core/wasm.js';
import { WHOLE_MARK } from '../types/marks.js';
import { COUNTERS, type Counter } from './native.js';
import { type KernelQueue, readQueues } from './proc.js';
import { type FragmentSettings, type Log, QueueThread, type ThreadSettings } from './thread.js';

export type { FragmentSettings, Log } from './thread.js';

export interface PoolOptions {
  /** A generation must have been published in the memory: a worker decides by it from its first packet on. */
  readonly core: { readonly module: WebAssembly.Module; readonly memory: WebAssembly.Memory };
  /** Queue numbers, both ends included; queue `first + n` uses worker area n. */
  readonly queues: { readonly first: number; readonly last: number };
  /** Packets that the kernel keeps in one queue before it drops. */
  readonly queueLength: number;
  /** A queue holds no more than a quarter of its length. */
  readonly fragments?: Partial<FragmentSettings>;
  /** How long a worker tries again and again before it sleeps, see QueueOptions; default 0. */
  readonly spinMicroseconds?: number;
  /** Bits of the mark that a verdict sets, the packet keeps the others; default: all. */
  readonly markMask?: number;
  readonly log?: Log;
  /** Called when a worker died, before it is restarted. */
  readonly onFailure?: (queue: number, cause: Error) => void;
  /** Makes the threads; `new Worker` if absent. */
  readonly spawn?: ThreadSettings['spawn'];
}

/** Counts of one queue since the pool's start; `kernel` since the queue was bound, null while it is not. */
export interface QueueStatistics {
  readonly queue: number;
  readonly bound: boolean;
  /** How long it has not been bound, in ms; 0 while it is. */
  readonly unboundMs: number;
  readonly restarts: number;
  readonly packets: number;
  readonly batches: number;
  /** On the wire. */
  readonly bytes: number;
  readonly kernel: Pick<KernelQueue, 'depth' | 'queueDropped' | 'userDropped'> | null;
  readonly shim: Readonly<Record<Counter, number>>;
}

/** Fragments of a packet come within milliseconds of each other, and what is held takes room in the queue. */
const MOST_HELD = 256;
const FRAGMENT_SETTINGS: FragmentSettings = { timeoutMs: 500, mostHeld: MOST_HELD };
/** Of a queue's length: the rest is for those that need not wait. */
const HELD_SHARE = 4;

/** A queued packet takes 832 bytes of the buffer at a copy range of 128, and less than twice 1 KiB at 512: the kernel doubles. */
const BUFFER_BYTES_PER_PACKET = 1024;
/** The kernel's default (net.core.rmem_default): a short queue needs no less for its bursts of error messages. */
const BUFFER_LEAST_BYTES = 212992;

/** Between two looks whether packets still come. */
const LOOK_AGAIN_MS = 10;
/** After the rules led elsewhere: a packet that met them before is in its queue within microseconds. */
const QUIET_MS = 50;

const SILENT: Log = { info() {}, warn() {}, error() {} };

/** No more than a quarter of the queue. */
export function heldWithin({ timeoutMs, mostHeld }: FragmentSettings, queueLength: number): FragmentSettings {
  return {
    timeoutMs,
    mostHeld: Math.min(mostHeld, MOST_HELD, Math.floor(queueLength / HELD_SHARE)),
  };
}

export class WorkerPool {
  readonly #core: Core;
  readonly #shared: WebAssembly.Memory;
  readonly #memory: DataView;
  readonly queues: PoolOptions['queues'];
  readonly #threads: readonly QueueThread[];
  // Node waits at its exit for threads that are blocked in native code; this lets them go.
  readonly #onExit = () => {
    for (const thread of this.#threads) thread.release();
  };

  private constructor(options: PoolOptions) {
    const { module, memory } = options.core;
    this.#core = instantiateCore(module, memory);
    this.#shared = memory;
    this.#memory = new DataView(memory.buffer);
    this.queues = options.queues;
    const receiveBufferBytes = Math.max(options.queueLength * BUFFER_BYTES_PER_PACKET, BUFFER_LEAST_BYTES);
    const fragments = heldWithin({ ...FRAGMENT_SETTINGS, ...options.fragments }, options.queueLength);
    const count = options.queues.last - options.queues.first + 1;
    if (workerArea(this.#core, count) > memory.buffer.byteLength) {
      throw new RangeError(`${count} workers do not fit a memory of ${memory.buffer.byteLength} bytes`);
    }
    const { Region, Layout } = this.#core;
    if (this.#memory.getUint32(Region.Control + Layout.ControlGeneration, true) === 0) {
      throw new TypeError('no generation is published: the workers would have nothing to decide by');
    }
    this.#threads = Array.from({ length: count }, (_, index) => {
      const queue = this.queues.first + index;
      // For all lives of a worker: what a former one decided is still found. Here, since each thread that loads node:crypto pays for it.
      const seed = workerArea(this.#core, index) + Region.WorkerFragments + Layout.FragmentsSeed;
      this.#memory.setBigUint64(seed, randomBytes(8).readBigUInt64LE(), true);
      return new QueueThread({
        core: this.#core,
        data: {
          module,
          memory,
          index,
          queue,
          queueLength: options.queueLength,
          receiveBufferBytes,
          fragments,
          spinMicroseconds: options.spinMicroseconds ?? 0,
          markMask: options.markMask ?? WHOLE_MARK,
        },
        log: options.log ?? SILENT,
        onFailure: options.onFailure ?? (() => {}),
        spawn: options.spawn ?? ((file, threadOptions) => new Worker(file, threadOptions)),
      });
    });
  }

  /**
   * Resolves once every queue is bound. If one cannot be, the others are stopped first.
   * @throws EnvironmentError or KernelError of the first queue that was refused
   */
  static async start(options: PoolOptions): Promise<WorkerPool> {
    const pool = new WorkerPool(options);
    process.on('exit', pool.#onExit);
    const starts = await Promise.allSettled(pool.#threads.map(thread => thread.start()));
    const refused = starts.find(start => start.status === 'rejected');
    if (refused !== undefined) {
      await pool.stop();
      throw refused.reason;
    }
    return pool;
  }

  /** Restarts of all workers since the start. */
  get restarts(): number {
    return this.#threads.reduce((sum, thread) => sum + thread.restarts, 0);
  }

  /** Resolves once all threads have ended. Each answers its last batch; what is queued behind it the kernel drops. */
  async stop(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.stop()));
    process.off('exit', this.#onExit);
  }

  /**
   * Wait until no packet waits in the kernel and none has come for a while, `boundMs` at most. The rules lead elsewhere by
   * now: so do they the firsts that held fragments wait for, and these are not waited for.
   * @returns whether it came to that
   */
  async drained(boundMs: number): Promise<boolean> {
    const end = performance.now() + boundMs;
    let before = '';
    for (let quiet = performance.now(); performance.now() < end; await delay(LOOK_AGAIN_MS)) {
      const statistics = this.statistics();
      const now = statistics.map(({ packets }) => packets).join(' ');
      const waiting = statistics.some(
        ({ kernel }, index) => kernel !== null && kernel.depth > this.#held(index),
      );
      if (waiting || now !== before) quiet = performance.now();
      else if (performance.now() - quiet >= QUIET_MS) return true;
      before = now;
    }
    return false;
  }

  /** Who serves, without a look at the kernel. */
  bindings(): Pick<QueueStatistics, 'queue' | 'bound' | 'unboundMs'>[] {
    return this.#threads.map(({ bound, unboundMs }, index) => ({
      queue: this.queues.first + index,
      bound,
      unboundMs,
    }));
  }

  statistics(): QueueStatistics[] {
    const kernel = new Map(readQueues().map(queue => [queue.queue, queue]));
    return this.#threads.map((thread, index) => {
      const queue = this.queues.first + index;
      const held = thread.bound ? kernel.get(queue) : undefined;
      const counters = thread.counters();
      return {
        queue,
        bound: thread.bound,
        unboundMs: thread.unboundMs,
        restarts: thread.restarts,
        packets: this.#counter(index, this.#core.Layout.WorkerPackets),
        batches: this.#counter(index, this.#core.Layout.WorkerBatches),
        bytes: verdictCounts(this.#core, this.#shared, index).reduce((sum, { bytes }) => sum + bytes, 0),
        kernel:
          held === undefined
            ? null
            : { depth: held.depth, queueDropped: held.queueDropped, userDropped: held.userDropped },
        shim: Object.fromEntries(COUNTERS.map((name, n) => [name, counters[n]!])) as Record<Counter, number>,
      };
    });
  }

  /** Fragments that wait for their first. */
  #held(index: number): number {
    return fragmentCounts(this.#core, this.#shared, index).waiting;
  }

  #counter(index: number, field: number): number {
    const at = workerArea(this.#core, index) + this.#core.Region.WorkerState + field;
    return Number(this.#memory.getBigUint64(at, true));
  }
}
