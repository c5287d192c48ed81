/** One subcommand of nfqlb, and what all of them share: where the daemon is, and how long it is waited for. */
import { askPatiently } from '../control/patience.js';
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
 * nfqlb's changes need no daemon or one that is there at once. A script that starts `flowlb` and goes on without waiting,
 * as Meridio does, may ask before the process has taken its lock.
 */
const UNSEEN_MS = 1000;

export function socketOf({ values }: Arguments): string {
  return socketPath(values.get('socket'));
}

/** @throws ControlError, RefusedError */
export function read<Reply>(args: Arguments, path: string): Promise<Reply> {
  return askPatiently<Reply>(socketOf(args), path, undefined, { unseenMs: 0, isStarting });
}

/**
 * Ask for a change; a daemon that is not there yet is waited for.
 * @throws ControlError, RefusedError
 */
export function change<Reply>(args: Arguments, path: string, request: unknown): Promise<Reply> {
  const patience = { unseenMs: UNSEEN_MS, isStarting };
  return askPatiently<Reply>(socketOf(args), path, JSON.stringify(request), patience);
}

/** Loaded only where no daemon answers: a command starts fast. */
async function isStarting(socket: string): Promise<boolean> {
  return (await import('../lock/namespace-lock.js')).someoneStarts(socket);
}
