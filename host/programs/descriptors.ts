/** Whether a program can be started: Node tells of a lack of file descriptors in a way that no caller can catch. */
import { closeSync, openSync } from 'node:fs';
import { EnvironmentError } from '../types/errors.js';

/** Three pairs of sockets for its streams, a pipe that tells whether it was executed, and some to spare. */
const NEEDED = 10;

/**
 * In `child_process.spawn` EMFILE and ENFILE leave a child without streams, and an event of it that ends the process.
 * @throws EnvironmentError that names the lack
 */
export function refuseWithoutDescriptors(program: string): void {
  const opened: number[] = [];
  try {
    for (let n = 0; n < NEEDED; n++) opened.push(openSync('/dev/null', 'r'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const words =
      code === 'EMFILE'
        ? 'this process has no file descriptor left (EMFILE): raise its limit (ulimit -n)'
        : code === 'ENFILE'
          ? 'this machine has no file descriptor left (ENFILE)'
          : message;
    throw new EnvironmentError(`${program} cannot be started: ${words}`, { cause: error });
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}
