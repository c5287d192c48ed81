/** TCP sockets by a mark, for Node. */
import { Socket } from 'node:net';
import { closeDescriptor, openStream } from './native.js';
import type { Question } from './question.js';

/** A socket that is about to connect. @throws EnvironmentError, KernelError */
export function connectMarked({ host, fwmark, check }: Question): Socket {
  const fd = openStream(host.family, fwmark);
  try {
    // Without `manualStart` Node reads from the socket at once, and it is not connected yet: ENOTCONN.
    const options = { fd, readable: true, writable: true, manualStart: true };
    return new Socket(options).connect({ host: host.address, port: check.port! });
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

/** `ECONNREFUSED`, or the message of an error that has no such name. */
export function errorName(error: NodeJS.ErrnoException): string {
  return error.syscall !== undefined && error.code !== undefined ? error.code : error.message;
}
