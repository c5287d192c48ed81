/** `magmark run`: the daemon in the foreground, steered by signals. */
import { namespaceFile, socketPath } from '../control/socket.js';
import { Daemon, Stopped } from '../daemon/daemon.js';
import { FileWatch } from '../daemon/file-watch.js';
import { statePath } from '../daemon/kept-state.js';
import { createLog } from '../daemon/log.js';
import { namespaceName } from '../daemon/namespace.js';
import { ConfigError, MagmarkError } from '../types/errors.js';
import { onSignal, type Signal } from './signals.js';

export interface RunOptions {
  readonly config?: string;
  readonly watch?: boolean;
  readonly state?: string;
  readonly socket?: string;
  readonly journal?: string;
  readonly hostNamespace?: boolean;
  readonly logLevel: string;
}

/**
 * Runs until SIGTERM or SIGINT; ends the process with 0, or with the error's exit code.
 * @throws ConfigError if the options contradict each other
 */
export async function run(options: RunOptions): Promise<void> {
  if (options.watch && options.config === undefined) {
    throw new ConfigError(['--watch: there is no file to watch, name one by --config']);
  }
  const log = createLog(options.logLevel);
  const fatal = (error: Error): void => {
    log.fatal({ err: error }, 'unexpected error: the next start repairs what is left in the kernel');
    process.exit(1);
  };
  process.on('uncaughtException', fatal);
  process.on('unhandledRejection', reason =>
    fatal(reason instanceof Error ? reason : new Error(String(reason))),
  );

  const stop = new AbortController();
  let daemon: Daemon | null = null;
  let watch: FileWatch | null = null;
  let reloadAsked = false;
  const steer = (signal: Signal): void => {
    if (signal === 'SIGHUP') {
      // A start that has read its file already reads it again when it stands.
      if (daemon === null) reloadAsked = true;
      else daemon.reload().catch(fatal);
      return;
    }
    if (stop.signal.aborted) {
      // Asked again: nothing is waited for any more.
      daemon?.stopAtOnce();
      return;
    }
    log.info({ signal }, 'stopping');
    stop.abort();
    watch?.stop();
    daemon?.stop().then(clean => process.exit(clean ? 0 : 1), fatal);
  };
  onSignal(steer);

  try {
    daemon = await Daemon.start({
      configFile: options.config ?? null,
      statePath: options.state ?? statePath(namespaceName()),
      socketPath: socketPath(options.socket),
      journalPath: options.journal ?? namespaceFile('journal'),
      frontendDirectory: options.journal === undefined ? namespaceFile('bird') : `${options.journal}.bird`,
      hostNamespace: options.hostNamespace ?? false,
      stop: stop.signal,
      log,
    });
    if (stop.signal.aborted) process.exit((await daemon.stop()) ? 0 : 1);
    if (reloadAsked) daemon.reload().catch(fatal);
    if (options.watch && options.config !== undefined) {
      const { config: file } = options;
      const started = daemon;
      watch = FileWatch.start({ file, log, onChange: () => started.reloadIfChanged().catch(fatal) });
    }
  } catch (error) {
    if (error instanceof Stopped) {
      log.info('stopped');
      process.exit(0);
    }
    if (!(error instanceof MagmarkError)) throw error;
    log.fatal({ code: error.code, faults: error.message.split('\n') }, 'cannot start');
    process.exit(error.exitCode);
  }
}
