/** `magmark run`: the daemon in the foreground, steered by signals. */
import { namespaceFile, socketPath } from '../control/socket.js';
import type { Daemon } from '../daemon/daemon.js';
import { FileWatch } from '../daemon/file-watch.js';
import { statePath } from '../daemon/kept-state.js';
import { createLog } from '../daemon/log.js';
import { namespaceName } from '../daemon/namespace.js';
import { answersOf } from '../daemon/observation.js';
import { startDaemon } from '../daemon/start.js';
import { Stopped } from '../daemon/stopped.js';
import { Notifier, takeEnvironment, type Watched } from '../notify/notifier.js';
import { ConfigError, MagmarkError } from '../types/errors.js';
import { onSignal, type Signal } from './signals.js';

export interface RunOptions {
  readonly config?: string;
  readonly watch?: boolean;
  readonly state?: string;
  readonly socket?: string;
  readonly journal?: string;
  readonly hostNamespace?: boolean;
  readonly takeover?: boolean;
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

  const supervisor = new Notifier({
    environment: takeEnvironment(),
    pid: process.pid,
    onError: error => log.warn({ err: error }, 'the supervisor could not be told'),
  });
  const stop = new AbortController();
  let daemon: Daemon | null = null;
  let watch: FileWatch | null = null;
  let reloadAsked = false;
  const steer = (signal: Signal): void => {
    if (signal === 'SIGHUP') {
      // A start that has read its file already reads it again when it stands.
      if (daemon === null) reloadAsked = true;
      else reload(daemon);
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
    supervisor.stopping();
    daemon?.stop().then(clean => process.exit(clean ? 0 : 1), fatal);
  };
  const reload = (running: Daemon): void => {
    supervisor.reloading();
    running.reload().then(() => supervisor.ready(watched(running)), fatal);
  };
  onSignal(steer);

  try {
    daemon = await startDaemon({
      configFile: options.config ?? null,
      statePath: options.state ?? statePath(namespaceName()),
      socketPath: socketPath(options.socket),
      journalPath: options.journal ?? namespaceFile('journal'),
      rulesetPath: options.journal === undefined ? namespaceFile('nft') : `${options.journal}.nft`,
      frontendDirectory: options.journal === undefined ? namespaceFile('bird') : `${options.journal}.bird`,
      hostNamespace: options.hostNamespace ?? false,
      takeover: options.takeover ?? false,
      onLeft: () => process.exit(0),
      stop: stop.signal,
      log,
    });
    if (stop.signal.aborted) process.exit((await daemon.stop()) ? 0 : 1);
    supervisor.ready(watched(daemon));
    if (reloadAsked) reload(daemon);
    if (options.watch && options.config !== undefined) {
      const { config: file } = options;
      const running = daemon;
      const onChange = async (): Promise<void> => {
        if (await running.fileDiffers()) reload(running);
      };
      watch = FileWatch.start({
        file,
        log,
        onChange: () => void onChange().catch(fatal),
        onFaults: lines => running.warnWatch(lines),
      });
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

/** For `systemctl status`, and the watchdog. */
function watched(daemon: Daemon): Watched {
  const { alive, ready } = answersOf(daemon);
  return {
    status: () => {
      const { ok, conditions } = ready();
      const shown = conditions.filter(condition => condition.ok === ok).map(({ detail }) => detail);
      const refused = daemon.tally.reloads.lastSucceeded ? '' : '; the last reload was refused, see the log';
      const { generation } = daemon.images.current!;
      return `${ok ? 'ready' : 'not ready'}: ${shown.join(', ')}; generation ${generation}${refused}`;
    },
    alive: () => alive().ok,
  };
}
