/** TCP sockets by a mark, for Node. */
import { Socket } from 'node:net';
import { KernelError } from '../types/errors.js';
import { closeDescriptor, openStream } from './native.js';
import { answerOf, type Question } from './question.js';

/** A socket that is about to connect. @throws EnvironmentError, KernelError */
export function connectMarked({ host, fwmark, check }: Question): Socket {
  return adopted(openStream(host.family, fwmark)).connect({ host: host.address, port: check.port! });
}

/** Node's socket of a descriptor, which is closed with it, or at once if Node will not have it. */
function adopted(fd: number): Socket {
  // Without `manualStart` Node reads from the socket at once, and it is not connected yet: ENOTCONN.
  const options = { fd, readable: true, writable: true, manualStart: true };
  try {
    return new Socket(options);
  } catch (error) {
    closeDescriptor(fd);
    throw new KernelError(`hand a TCP socket to Node: ${(error as Error).message}`, { cause: error });
  }
}

/** `ECONNREFUSED`, or the message of an error that is not the kernel's. */
export function errorText(error: NodeJS.ErrnoException): string {
  return error.syscall !== undefined && error.code !== undefined ? answerOf(error.code) : error.message;
}
