/** Where the control socket is. */
import { readlinkSync } from 'node:fs';

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
