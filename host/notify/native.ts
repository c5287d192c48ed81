/** The only file that loads native/notify.cc. It makes errors of what comes back. */
import { getSystemErrorName } from 'node:util';
import { nativeShim } from '../native/load.js';
import { EnvironmentError } from '../types/errors.js';

/** native/notify.cc. Negative numbers are -errno. */
interface Shim {
  send(name: Uint8Array, bytes: Uint8Array): number;
}

const shim = nativeShim<Shim>('notify');

/**
 * Send one datagram to a unix socket.
 * @param address a path, or `@name` for an abstract socket of this network namespace
 * @throws EnvironmentError if it cannot be sent at once
 */
export function sendDatagram(address: string, text: string): void {
  const name = Buffer.from(address.replace(/^@/, '\0'));
  const result = shim().send(name, Buffer.from(text));
  if (result < 0) throw new EnvironmentError(`send to ${address}: ${getSystemErrorName(result)}`);
}
