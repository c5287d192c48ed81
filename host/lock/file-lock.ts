/**
 * A lock file of mode 0600. Only its owner can open it, so only its owner can hold it. The kernel ends the lock with the
 * process, whatever ended that. The file names the holder, for messages.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { EnvironmentError } from '../types/errors.js';
import { descriptorIsLocked, lockDescriptor } from './native.js';

const { O_RDWR, O_RDONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
const MAX_HOLDER_BYTES = 200;

export class FileLock {
  private fd: number | null;

  private constructor(
    private readonly path: string,
    fd: number,
  ) {
    this.fd = fd;
  }

  /**
   * @param path in a directory that only its owner can write to
   * @returns null: another process has it
   * @throws EnvironmentError if the file cannot be made, or belongs to somebody else
   */
  static take(path: string): FileLock | null {
    while (true) {
      // Node sets O_CLOEXEC: children inherit no lock.
      const fd = openLock(path, O_RDWR | O_CREAT);
      try {
        refuseForeign(path, fstatSync(fd));
        fchmodSync(fd, 0o600);
        if (!lockDescriptor(fd, path)) {
          closeSync(fd);
          return null;
        }
        if (isAt(path, fd)) {
          ftruncateSync(fd);
          writeSync(fd, `pid ${process.pid}, since ${new Date().toISOString()}\n`);
          return new FileLock(path, fd);
        }
      } catch (error) {
        closeSync(fd);
        throw error;
      }
      // Its former holder removed it after we opened it.
      closeSync(fd);
    }
  }

  /** Does nothing the second time. */
  release(): void {
    const { fd } = this;
    if (fd === null) return;
    this.fd = null;
    // In this order: no other process can hold a file of this name before it is gone.
    if (isAt(this.path, fd)) rmSync(this.path, { force: true });
    closeSync(fd);
  }
}

/** Whether a process has the lock. It takes nothing, so it disturbs no process that takes it. False if this user may not ask. */
export function isLocked(path: string): boolean {
  let fd: number;
  try {
    fd = openLock(path, O_RDONLY);
  } catch (error) {
    const { code } = (error as Error).cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return false;
    throw error;
  }
  try {
    return descriptorIsLocked(fd, path);
  } finally {
    closeSync(fd);
  }
}

/** `pid 4711, since 2026-01-01T00:00:00.000Z`; null: it is gone, or has not written it yet. */
export function holderOf(path: string): string | null {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return text === '' ? null : text.slice(0, MAX_HOLDER_BYTES);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new EnvironmentError(`read lock ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function openLock(path: string, flags: number): number {
  try {
    return openSync(path, flags | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'ELOOP' ? 'it is a symbolic link: remove it' : message;
    throw new EnvironmentError(`open lock ${path}: ${reason}`, { cause: error });
  }
}

function refuseForeign(path: string, found: Stats): void {
  const own = process.geteuid?.();
  const { uid } = found;
  if (!found.isFile()) throw new EnvironmentError(`lock ${path} is no regular file: remove it`);
  if (uid !== own)
    throw new EnvironmentError(`lock ${path} belongs to user ${uid}, not to ${own}: remove it`);
}

function isAt(path: string, fd: number): boolean {
  const own = fstatSync(fd);
  const there = statSync(path, { throwIfNoEntry: false });
  return there !== undefined && there.ino === own.ino && there.dev === own.dev;
}
