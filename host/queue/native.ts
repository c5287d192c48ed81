/**
 * The only file that loads the native shim. It checks arguments before they cross, and makes errors of what comes back.
 * Contract of this room: packets move here; what they mean is the core's business.
 */
import { getSystemErrorName } from 'node:util';
import { nativeShim } from '../native/load.js';
import { EnvironmentError, KernelError } from '../types/errors.js';
import { WHOLE_MARK } from '../types/marks.js';
import { readQueues } from './proc.js';

/** Byte offsets within a descriptor, each a multiple of 4. */
export interface DescriptorFields {
  readonly packetId: number;
  readonly offset: number;
  readonly length: number;
  readonly wireLength: number;
  readonly verdict: number;
  readonly mark: number;
}

/** A queue and the memory that its packets are received into. Offsets count bytes from the start of `memory`. */
export interface QueueOptions {
  /** 0..65535 */
  readonly queue: number;
  /** Packets that the kernel keeps before it drops. */
  readonly queueLength: number;
  /** Bytes of each packet that are copied, less than `packetBytes`. */
  readonly copyRange: number;
  readonly receiveBufferBytes: number;
  /** Descriptor of `createWake`, or -1. */
  readonly wake: number;
  /** Longest wait of one exchange. */
  readonly timeoutMs: number;
  /** How long it tries again and again before it sleeps, while packets come closer together than that; default 0. */
  readonly spinMicroseconds?: number;
  /** Bits of the mark that a verdict sets, the packet keeps the others; default: all. */
  readonly markMask?: number;
  /** All of the memory; a view of a SharedArrayBuffer will do. */
  readonly memory: Uint8Array;
  readonly descriptors: number;
  readonly descriptorBytes: number;
  readonly fields: DescriptorFields;
  /** Packets of one batch, at most 1024. */
  readonly batch: number;
  /** Descriptors behind those of the batch, for verdicts about packets that were held; default 0. */
  readonly behind?: number;
  readonly packets: number;
  /** Room for one message: some 200 bytes of netlink before the packet. */
  readonly packetBytes: number;
  /** Where `exchange` writes an f64 when it returns: nanoseconds of CLOCK_MONOTONIC. A multiple of 8. */
  readonly clock: number;
}

/** What the shim counts, in its order. Errors of verdicts are those that the kernel answered (ENOENT: unknown id). */
export const COUNTERS = [
  'packets',
  'batches',
  'systemCalls',
  'verdicts',
  'verdictErrors',
  'truncated',
  'malformed',
  'sendRetries',
  'idle',
] as const;
export type Counter = (typeof COUNTERS)[number];

type Handle = { readonly brand: unique symbol };

/** native/nfqueue.cc. Negative numbers are -errno; `open` has its step in them too. */
interface Shim {
  open(options: Required<QueueOptions>): Handle | number;
  exchange(handle: Handle, answered: number): number;
  answer(handle: Handle, answered: number, behind: number): number;
  decidedIn(handle: Handle): number;
  statistics(handle: Handle, into: Float64Array): void;
  close(handle: Handle): void;
  createWake(): number;
  wake(descriptor: number): number;
  closeWake(descriptor: number): number;
  namespaceCookie(): bigint | null | number;
}

const STEPS = [
  'fit the memory',
  'open a netlink socket',
  'set the receive buffer',
  'bind',
  'configure',
] as const;
const STEP_SIZE = 4096;

const shim = nativeShim<Shim>('nfqueue');

/** One bound netfilter queue. It belongs to the thread that opened it; its socket closes with that thread's end. */
export class NetfilterQueue {
  readonly #shim = shim();
  readonly #handle: Handle;
  readonly #queue: number;

  /**
   * Bind a queue.
   * @throws EnvironmentError where the right or the kernel's NFQUEUE is missing, KernelError for all other refusals
   */
  constructor(given: QueueOptions) {
    const options = { behind: 0, spinMicroseconds: 0, markMask: WHOLE_MARK, ...given };
    checkOptions(options);
    const opened = this.#shim.open(options);
    if (typeof opened === 'number') throw openFailure(options, opened);
    this.#handle = opened;
    this.#queue = options.queue;
  }

  /**
   * Send the verdicts of the first `answered` descriptors, then wait for packets and fill the first descriptors.
   * @returns number of packets; 0 after a time-out, a wake or messages that held none
   */
  exchange(answered: number): number {
    const received = this.#shim.exchange(this.#handle, answered);
    if (received < 0) throw this.#failure(`answer ${answered} packets and receive`, received);
    return received;
  }

  /**
   * Send the verdicts of the first `answered` descriptors and receive nothing. A packet with verdict 2 is held: it stays in
   * the queue until it is answered by a descriptor behind the batch, `behind` of which are sent after the others.
   */
  answer(answered: number, behind = 0): void {
    const result = this.#shim.answer(this.#handle, answered, behind);
    if (result < 0) throw this.#failure(`answer ${answered} packets and ${behind} that were held`, result);
  }

  /** Nanoseconds from the last return of `exchange` to the last call of `answer`; whole, at most 2^31 - 1. */
  decidedIn(): number {
    return this.#shim.decidedIn(this.#handle);
  }

  /** Write the numbers of COUNTERS, in that order. */
  statistics(into: Float64Array): void {
    this.#shim.statistics(this.#handle, into);
  }

  /** Unbind; the kernel drops what has no verdict. Closing twice is harmless. */
  close(): void {
    this.#shim.close(this.#handle);
  }

  #failure(attempted: string, result: number): KernelError {
    return new KernelError(`queue ${this.#queue}: ${attempted}: ${getSystemErrorName(result)}`);
  }
}

/** A descriptor that ends another thread's wait when `wake` is called on it. */
export function createWake(): number {
  return accepted('create an eventfd', shim().createWake());
}

export function wake(descriptor: number): void {
  accepted(`wake by descriptor ${descriptor}`, shim().wake(descriptor));
}

export function closeWake(descriptor: number): void {
  accepted(`close descriptor ${descriptor}`, shim().closeWake(descriptor));
}

/** The network namespace's number, never used twice since boot; null where the kernel has none (before 5.14). */
export function namespaceCookie(): bigint | null {
  const cookie = shim().namespaceCookie();
  return typeof cookie === 'number' ? BigInt(accepted('read the namespace cookie', cookie)) : cookie;
}

function accepted(attempted: string, result: number): number {
  if (result < 0) throw new KernelError(`${attempted}: ${getSystemErrorName(result)}`);
  return result;
}

function openFailure(options: QueueOptions, code: number): Error {
  const step = STEPS[Math.floor(-code / STEP_SIZE)]!;
  const errno = getSystemErrorName(-(-code % STEP_SIZE));
  const attempted = `queue ${options.queue}: ${step}: ${errno}`;
  if (step === 'bind' && errno === 'EPERM') {
    // The kernel answers the same to "not yours" and to "not allowed"; its list tells who holds what.
    const holder = readQueues().find(held => held.queue === options.queue);
    return holder === undefined
      ? new EnvironmentError(`${attempted}: the capability NET_ADMIN is missing`)
      : new KernelError(`${attempted}: it is held by another process (netlink port id ${holder.portId})`);
  }
  if (step === 'bind' && errno === 'EINVAL') {
    return new EnvironmentError(`${attempted}: the kernel has no NFQUEUE (nfnetlink_queue)`);
  }
  return new KernelError(attempted);
}

function checkOptions(options: Required<QueueOptions>): void {
  const check = (name: string, value: number, least: number, most: number) => {
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new RangeError(`${name}: ${value} is not a whole number from ${least} to ${most}`);
    }
  };
  check('queue', options.queue, 0, 0xffff);
  check('queueLength', options.queueLength, 1, 0xffffffff);
  check('copyRange', options.copyRange, 1, 0xffff);
  check('receiveBufferBytes', options.receiveBufferBytes, 1, 0x7fffffff);
  check('wake', options.wake, -1, 0x7fffffff);
  check('timeoutMs', options.timeoutMs, 0, 0x7fffffff);
  check('spinMicroseconds', options.spinMicroseconds, 0, 1000);
  check('markMask', options.markMask, 0, WHOLE_MARK);
  check('batch', options.batch, 1, 1024);
  check('behind', options.behind, 0, 1024);
  for (const name of ['descriptors', 'descriptorBytes', 'packets', 'packetBytes', 'clock'] as const) {
    check(name, options[name], 0, 0xffffffff);
  }
  for (const [name, value] of Object.entries(options.fields)) check(`fields.${name}`, value, 0, 0xffffffff);
  if (!(options.memory instanceof Uint8Array)) throw new TypeError('memory: not a Uint8Array');
}
