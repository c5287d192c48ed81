/** `nfqlb flowlb` in the foreground, ended by SIGTERM or SIGINT. */
import { Incidents } from '../daemon/incidents.js';
import { createLog, levelOfSyslog } from '../daemon/log.js';
import type { FileLock } from '../lock/file-lock.js';
import { MagmarkError } from '../types/errors.js';
import type { Settings } from './config.js';
import { DEFAULT_LOG_LEVEL, FlowLb } from './flowlb.js';

export interface RunOptions {
  readonly settings: Settings;
  readonly socketPath: string;
  /** Released when the dataplane has started, or has failed to. */
  readonly starting: FileLock;
  /** Options that were given and have no effect, in words. */
  readonly notDone: readonly string[];
}

/** Ends the process with 0 when a signal asks for it, or with the error's exit code. */
export async function runFlowLb({ settings, socketPath, starting, notDone }: RunOptions): Promise<void> {
  const log = createLog(levelOfSyslog(DEFAULT_LOG_LEVEL));
  const fatal = (error: Error): void => {
    log.fatal({ err: error }, 'unexpected error');
    process.exit(1);
  };
  const incidents = new Incidents(log, () => fatal(new Error('too many internal errors within a minute')));
  const unexpected = (reason: unknown): void => {
    const error = reason instanceof Error ? reason : new Error(String(reason));
    // Before it decides packets there is nothing to go on for.
    if (flowLb === null) fatal(error);
    else incidents.note(error);
  };
  process.on('uncaughtException', unexpected);
  process.on('unhandledRejection', unexpected);
  if (notDone.length > 0) {
    log.warn(
      { options: notDone },
      'not done here: later fragments follow their first, and wait for it in the queue',
    );
  }

  let flowLb: FlowLb | null = null;
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, 'stopping');
    flowLb?.stop().then(() => process.exit(0), fatal);
  };
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => stop(signal));
  try {
    flowLb = await FlowLb.start({ settings, socketPath, log });
    starting.release();
  } catch (error) {
    starting.release();
    if (!(error instanceof MagmarkError)) throw error;
    log.fatal({ code: error.code, faults: error.message.split('\n') }, 'cannot start');
    process.exit(error.exitCode);
  }
  if (stopping) await flowLb.stop().then(() => process.exit(0), fatal);
}
