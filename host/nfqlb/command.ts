/** One subcommand of nfqlb, and what all of them share: where the daemon is, and how long it is waited for. */
import { setTimeout as delay } from 'node:timers/promises';
import { ask } from '../control/client.js';
import { socketPath } from '../control/socket.js';
import type { Arguments, Options } from './options.js';

export interface Command {
  /** What stands behind the command's name, and what it does. */
  readonly usage: string;
  readonly options: Options;
  /** Arguments that are no options are taken. */
  readonly takesRest?: true;
  /** @throws MagmarkError */
  run(args: Arguments): Promise<Outcome> | Outcome;
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr?: string;
  /** 0 if absent. */
  readonly exitCode?: number;
}

/**
 * nfqlb's changes need no daemon or one that is there at once; who starts `flowlb` and goes on without waiting, as
 * Meridio does, meets ours while it is still loading.
 */
const PATIENCE_MS = 1000;
const POLL_MS = 20;

export function socketOf({ values }: Arguments): string {
  return socketPath(values.get('socket'));
}

/** @throws ControlError, RefusedError */
export function read<Reply>(args: Arguments, path: string): Promise<Reply> {
  return ask<Reply>(socketOf(args), path);
}

/**
 * Ask for a change; a daemon that is not there yet is given a moment.
 * @throws ControlError, RefusedError
 */
export async function change<Reply>(args: Arguments, path: string, request: unknown): Promise<Reply> {
  const socket = socketOf(args);
  const body = JSON.stringify(request);
  const end = performance.now() + PATIENCE_MS;
  while (true) {
    try {
      return await ask<Reply>(socket, path, body);
    } catch (error) {
      const { cause } = error as { cause?: NodeJS.ErrnoException };
      const absent = cause?.code === 'ENOENT' || cause?.code === 'ECONNREFUSED';
      if (!absent || performance.now() > end) throw error;
    }
    await delay(POLL_MS);
  }
}
