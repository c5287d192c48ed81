/**
 * Locks of one network namespace, beside its journal: who is in charge, and who starts. The kernel gives an inode number to
 * another namespace only after the last process has left the former, so the number in the name suffices.
 */
import { namespaceFile, ownRunDirectory } from '../control/socket.js';
import { ClashError } from '../types/errors.js';
import { FileLock, holderOf, isLocked } from './file-lock.js';

const LOCKS = {
  /** The daemon in charge holds it. */
  charge: { extension: 'lock', taken: 'another magmark runs' },
  /** A daemon holds it that starts or takes over, until it is in charge: no other one starts meanwhile. */
  start: { extension: 'start.lock', taken: 'another magmark starts, or takes over,' },
} as const;

/**
 * Take a lock of this process's network namespace.
 * @throws ClashError if another daemon has it: the message names that one; EnvironmentError
 */
export function lockNamespace(which: keyof typeof LOCKS): FileLock {
  const { extension, taken } = LOCKS[which];
  ownRunDirectory();
  const path = namespaceFile(extension);
  const lock = FileLock.take(path);
  if (lock !== null) return lock;
  const holder = holderOf(path);
  const inode = /net-(\d+)\./.exec(path)?.[1];
  throw new ClashError(
    `${taken} in this network namespace (net:[${inode}])${holder === null ? '' : `: ${holder}`}; nothing was changed. ` +
      `Its lock is ${path}`,
  );
}

/** The lock of a dataplane that starts (`nfqlb flowlb`): several may run in one namespace, each with a socket of its own. */
function socketLock(socketPath: string): string {
  return `${socketPath}.start.lock`;
}

/**
 * Say that a dataplane starts which will listen at `socketPath`.
 * @throws ClashError if another one starts there, EnvironmentError
 */
export function lockSocket(socketPath: string): FileLock {
  const path = socketLock(socketPath);
  const lock = FileLock.take(path);
  if (lock !== null) return lock;
  throw new ClashError(`another dataplane starts at ${socketPath}: ${holderOf(path) ?? path}`);
}

/**
 * Whether a daemon starts or takes over in this network namespace, or one that will listen at `socketPath`.
 * A command that finds no daemon waits longer then.
 */
export function someoneStarts(socketPath: string): boolean {
  return isLocked(namespaceFile(LOCKS.start.extension)) || isLocked(socketLock(socketPath));
}
