/** The only file that loads native/lock.cc. It makes errors of what comes back. */
import { getSystemErrorName } from 'node:util';
import { nativeShim } from '../native/load.js';
import { EnvironmentError } from '../types/errors.js';

/** native/lock.cc. 0 and 1 answer the question, negative numbers are -errno. */
interface Shim {
  lock(fd: number): number;
  held(fd: number): number;
}

const shim = nativeShim<Shim>('lock');

/**
 * Lock the open file at once or not at all. The lock ends when its descriptor is closed, or with the process.
 * @param path for messages
 * @returns false: another open file has the lock
 * @throws EnvironmentError
 */
export function lockDescriptor(fd: number, path: string): boolean {
  return answered(shim().lock(fd), `lock ${path}`);
}

/** Whether another open file has the lock. It takes nothing. @throws EnvironmentError */
export function descriptorIsLocked(fd: number, path: string): boolean {
  return answered(shim().held(fd), `ask for the lock of ${path}`);
}

function answered(result: number, attempted: string): boolean {
  if (result < 0) throw new EnvironmentError(`${attempted}: ${getSystemErrorName(result)}`);
  return result === 1;
}
