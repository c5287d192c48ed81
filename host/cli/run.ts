/** `magmark run`: the daemon in the foreground, steered by signals. */
import { namespaceFile, socketPath } from '../control/socket.js';
import { Daemon } from '../daemon/daemon.js';
import { createLog } from '../daemon/log.js';
import { MagmarkError } from '../types/errors.js';

export interface RunOptions {
  readonly config: string;
  readonly socket?: string;
  readonly journal?: string;
  readonly hostNamespace?: boolean;
  readonly logLevel: string;
}

/** Runs until SIGTERM or SIGINT; ends the process with 0, or with the error's exit code. */
export async function run(options: RunOptions): Promise<void> {
  const log = createLog(options.logLevel);
  const fatal = (error: Error): void => {
    log.fatal({ err: error }, 'unexpected error: the next start repairs what is left in the kernel');
    process.exit(1);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', reason =>
    fatal(reason instanceof Error ? reason : new Error(String(reason))),
  );

  const starting = Daemon.start({
    configFile: options.config,
    socketPath: socketPath(options.socket),
    journalPath: options.journal ?? namespaceFile('journal'),
    hostNamespace: options.hostNamespace ?? false,
    log,
  });
  let stopping: Promise<void> | null = null;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      stopping ??= starting.then(
        async daemon => {
          log.info({ signal }, 'stopping');
          await daemon.stop();
          process.exit(0);
        },
        // The start's own error is reported below.
        () => undefined,
      );
      stopping.catch(fatal);
    });
  }
  process.on('SIGHUP', () => {
    starting
      .then(
        daemon => daemon.reload(),
        () => undefined,
      )
      .catch(fatal);
  });

  try {
    await starting;
  } catch (error) {
    if (!(error instanceof MagmarkError)) throw error;
    log.fatal({ code: error.code, faults: error.message.split('\n') }, 'cannot start');
    process.exitCode = error.exitCode;
    process.exit();
  }
}
