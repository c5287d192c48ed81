/** The only file that loads native/probe.cc. It makes errors of what comes back. */
import { getSystemErrorName } from 'node:util';
import { nativeShim } from '../native/load.js';
import type { Family } from '../types/config.js';
import { EnvironmentError, KernelError } from '../types/errors.js';
import { answerOf } from './question.js';

/** A descriptor of a socket for ICMP echo; packets of a raw IPv4 one come with their IP header. */
export interface EchoDescriptor {
  readonly descriptor: number;
  readonly raw: boolean;
}

/** native/probe.cc. Negative numbers are -errno; those of `open...` and `send` have their step in them too. */
interface Shim {
  openStream(family: Family, mark: number): number;
  openEcho(family: Family, identifier: number, bufferBytes: number): EchoDescriptor | number;
  send(descriptor: number, mark: number, address: Uint8Array, bytes: Uint8Array): number;
  receive(descriptor: number, bytes: Uint8Array, from: Uint8Array): number;
  close(descriptor: number): number;
}

const STEPS = ['socket', 'mark', 'configure'] as const;
const STEP_SIZE = 4096;

const shim = nativeShim<Shim>('probe');

/**
 * A TCP socket that is not connected yet and sends by `mark` from its first packet on; closing it resets.
 * @throws EnvironmentError where a right is missing, KernelError for all other refusals
 */
export function openStream(family: Family, mark: number): number {
  return accepted(`open a TCP socket (IPv${family})`, shim().openStream(family, mark));
}

/**
 * A socket for ICMP echo that receives replies alone; `identifier` (u16) is that of a raw one.
 * @throws EnvironmentError where the right or the family is missing, KernelError for all other refusals
 */
export function openEcho(family: Family, identifier: number, bufferBytes: number): EchoDescriptor {
  const opened = shim().openEcho(family, identifier, bufferBytes);
  if (typeof opened === 'object') return opened;
  const [step, errno] = failure(opened);
  const attempted = `open an ICMP socket (IPv${family}): ${errno}`;
  if (step === 'socket' && (errno === 'EPERM' || errno === 'EACCES')) {
    throw new EnvironmentError(
      `${attempted}: the capability NET_RAW is missing, and sysctl net.ipv4.ping_group_range does not hold this group`,
    );
  }
  throw new KernelError(attempted);
}

/** Send one datagram by `mark`; `address` has 4 or 16 bytes. @throws as `openStream` */
export function sendMarked(descriptor: number, mark: number, address: Uint8Array, bytes: Uint8Array): void {
  accepted('send', shim().send(descriptor, mark, address, bytes));
}

/**
 * Read one datagram that waits, cut to `bytes`; its sender's address goes to the front of `from` (16 bytes).
 * @returns its length, or null where none waits
 */
export function receive(descriptor: number, bytes: Uint8Array, from: Uint8Array): number | null {
  const received = shim().receive(descriptor, bytes, from);
  if (received >= 0) return received;
  const errno = getSystemErrorName(received);
  if (errno === 'EAGAIN') return null;
  throw new KernelError(`receive echo replies: ${errno}`);
}

export function closeDescriptor(descriptor: number): void {
  const result = shim().close(descriptor);
  if (result < 0) throw new KernelError(`close descriptor ${descriptor}: ${getSystemErrorName(result)}`);
}

function accepted(attempted: string, result: number): number {
  if (result >= 0) return result;
  const [step, errno] = failure(result);
  if (step === 'mark' && errno === 'EPERM') {
    throw new EnvironmentError(`set the mark: EPERM: the capability NET_ADMIN is missing`);
  }
  throw new KernelError(step === 'mark' ? `set the mark: ${errno}` : `${attempted}: ${answerOf(errno)}`);
}

function failure(result: number): [step: (typeof STEPS)[number], errno: string] {
  return [STEPS[Math.floor(-result / STEP_SIZE)]!, getSystemErrorName(-(-result % STEP_SIZE))];
}
