/** Where the control socket is. */
import { existsSync, mkdirSync, readlinkSync } from 'node:fs';
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
