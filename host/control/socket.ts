/** Where the control socket is. */
import { chmodSync, existsSync, lstatSync, mkdirSync, readlinkSync, statSync } from 'node:fs';
import { EnvironmentError } from '../types/errors.js';

/** State that lives as long as the machine: sockets and journals. */
export const RUN_DIRECTORY = '/run/magmark';

/** Path without extension of what belongs to the network namespace of this process. */
export function namespaceFile(extension: string): string {
  const inode = readlinkSync('/proc/self/ns/net').replace(/[^0-9]/g, '');
  return `${RUN_DIRECTORY}/net-${inode}.${extension}`;
}

/** @param option of the command line; the environment variable MAGMARK_SOCKET and the namespace's own path follow it */
export function socketPath(option?: string): string {
  return option || process.env.MAGMARK_SOCKET || namespaceFile('sock');
}

/** One level: what is above it must be there. @throws EnvironmentError that names it */
export function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  try {
    mkdirSync(directory, { mode: 0o755 });
  } catch (error) {
    throw new EnvironmentError(`${directory} cannot be made: ${(error as Error).message}`);
  }
}

const WRITABLE_BY_OTHERS = 0o022;

/**
 * Make /run/magmark if it is missing, and see that only its owner can write there: others could take locks and place links.
 * A volume that a container engine made for all to write is closed to others.
 * @throws EnvironmentError if it is somebody else's
 */
export function ownRunDirectory(directory: string = RUN_DIRECTORY): void {
  makeDirectory(directory);
  const own = process.geteuid?.();
  // A link is as trustworthy as who made it.
  for (const { uid } of [lstatSync(directory), statSync(directory)]) {
    if (uid !== 0 && uid !== own)
      throw new EnvironmentError(`${directory} belongs to user ${uid}, neither to root nor to ${own}`);
  }
  const found = statSync(directory);
  if (!found.isDirectory()) throw new EnvironmentError(`${directory} is no directory`);
  if ((found.mode & WRITABLE_BY_OTHERS) === 0) return;
  try {
    chmodSync(directory, found.mode & 0o7777 & ~WRITABLE_BY_OTHERS);
  } catch (error) {
    throw new EnvironmentError(
      `other users can write to ${directory}, and that cannot be changed: ${(error as Error).message}`,
    );
  }
}
