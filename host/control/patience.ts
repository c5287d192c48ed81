/** Asks a daemon that may still be starting. */
import { setTimeout as delay } from 'node:timers/promises';
import { ask, RefusedError } from './client.js';

/** For a daemon that starts: on a busy machine it takes seconds. */
const STARTING_MS = 10_000;
const POLL_MS = 20;
/** Of a daemon that listens and cannot answer yet. */
const NOT_READY = 503;

export interface Patience {
  /** How long a daemon is waited for of which there is no sign yet. */
  readonly unseenMs: number;
  /** Whether a daemon starts that will listen there. */
  isStarting(socketPath: string): boolean | Promise<boolean>;
}

/**
 * Ask as soon as there is a daemon. Where none starts, it fails at once, or after `unseenMs`.
 * @throws ControlError, RefusedError
 */
export async function askPatiently<Reply>(
  socketPath: string,
  path: string,
  body: string | undefined,
  { unseenMs, isStarting }: Patience,
): Promise<Reply> {
  const began = performance.now();
  let isLast = false;
  while (true) {
    try {
      return await ask<Reply>(socketPath, path, body);
    } catch (error) {
      const waited = performance.now() - began;
      const isNotReady = error instanceof RefusedError && error.status === NOT_READY;
      if (waited > STARTING_MS || !(isNotReady || (isAbsent(error) && !isLast))) throw error;
      // A daemon that became ready between both questions no longer starts: one more try finds it.
      isLast = waited >= unseenMs && !isNotReady && !(await isStarting(socketPath));
    }
    await delay(POLL_MS);
  }
}

function isAbsent(error: unknown): boolean {
  const { cause } = error as { cause?: NodeJS.ErrnoException };
  return cause?.code === 'ENOENT' || cause?.code === 'ECONNREFUSED';
}
