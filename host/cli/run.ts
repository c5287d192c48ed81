/** `magmark run`: the daemon in the foreground, steered by signals. */
import { namespaceFile, socketPath } from '../control/socket.js';
import type { Daemon } from '../daemon/daemon.js';
import { FileWatch } from '../daemon/file-watch.js';
import { Incidents } from '../daemon/incidents.js';
import { statePath } from '../daemon/kept-state.js';
import { createLog, logLosses } from '../daemon/log.js';
import { namespaceName } from '../daemon/namespace.js';
import { answersOf } from '../daemon/observation.js';
import { startDaemon } from '../daemon/start.js';
import { Stopped } from '../daemon/stopped.js';
import { Notifier, takeEnvironment, type Watched } from '../notify/notifier.js';
import { programs } from '../programs/running.js';
import { ConfigError, MagmarkError } from '../types/errors.js';
import { lateReads } from '../util/regular-file.js';
import { onSignal, type Signal } from './signals.js';

/** How long a start may take to end when it is to stop; programs that run then have `PRESENT_MS`. */
const START_STOP_MS = 8000;
const PRESENT_MS = 1000;

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
    exit(1);
  };
  const incidents = new Incidents(log, () => {
    broken = true;
    steer('SIGTERM');
  });
  const unexpected = (reason: unknown): void => {
    const error = reason instanceof Error ? reason : new Error(String(reason));
    // Before it has started there are no packets to go on for.
    if (daemon === null) fatal(error);
    else incidents.note(error);
  };
  process.on('uncaughtException', unexpected);
  process.on('unhandledRejection', unexpected);

  const supervisor = new Notifier({
    environment: takeEnvironment(),
    pid: process.pid,
    onError: error => log.warn({ err: error }, 'the supervisor could not be told'),
  });
  const stop = new AbortController();
  let daemon: Daemon | null = null;
  let watch: FileWatch | null = null;
  let reloadAsked = false;
  let broken = false;
  let asked = 0;
  let startTimer: NodeJS.Timeout | undefined;
  const steer = (signal: Signal): void => {
    if (signal === 'SIGHUP') {
      // A start that has read its file already reads it again when it stands.
      if (daemon === null) reloadAsked = true;
      else reload(daemon);
      return;
    }
    asked++;
    if (stop.signal.aborted) {
      log.info({ signal }, 'stopping at once');
      // What it waits for ends; a third time, or at its start, it ends itself.
      if (daemon === null || asked > 2) late();
      else daemon.stopAtOnce();
      return;
    }
    log.info({ signal }, 'stopping');
    stop.abort();
    watch?.stop();
    supervisor.stopping();
    if (daemon === null) {
      programs.endBy(performance.now() + START_STOP_MS);
      programs.endPresent(PRESENT_MS);
      startTimer = setTimeout(late, START_STOP_MS);
    } else end(daemon);
  };
  const end = (running: Daemon): void => {
    clearTimeout(startTimer);
    running.stop().then(clean => exit(clean && !broken ? 0 : 1), fatal);
  };
  /** The stop has taken its time: what is left is the next start's to repair. */
  const late = (): void => {
    log.error(
      daemon?.left() ?? { during: programs.slow(0) },
      'the stop was given up: the next start repairs what is left in the kernel',
    );
    exit(1);
  };
  const reload = (running: Daemon): void => {
    supervisor.reloading();
    running.reload().then(() => supervisor.ready(watched(running)), unexpected);
  };
  onSignal(steer);

  try {
    daemon = await startDaemon({
      configFile: options.config ?? null,
      statePath: options.state ?? statePath(namespaceName()),
      socketPath: socketPath(options.socket),
      journalPath: options.journal ?? namespaceFile('journal'),
      rulesetPath: options.journal === undefined ? namespaceFile('nft') : `${options.journal}.nft`,
      rulesetFile: process.env.MAGMARK_RULESET_FILE || null,
      frontendDirectory: options.journal === undefined ? namespaceFile('bird') : `${options.journal}.bird`,
      hostNamespace: options.hostNamespace ?? false,
      takeover: options.takeover ?? false,
      onLeft: () => exit(0),
      onStopLate: late,
      stop: stop.signal,
      log,
      process: {
        warnings: () => [...incidents.warnings(), ...lossWarnings()],
        get internalErrors() {
          return incidents.count;
        },
      },
    });
    if (stop.signal.aborted) return end(daemon);
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
        onChange: () => void onChange().catch(unexpected),
        onFaults: lines => running.warnWatch(lines),
      });
    }
  } catch (error) {
    if (error instanceof Stopped) {
      log.info('stopped');
      exit(0);
    }
    if (stop.signal.aborted && error instanceof MagmarkError) {
      // A program that was ended for the stop, most of the time.
      log.info({ faults: error.message.split('\n') }, 'stopped while starting');
      exit(0);
    }
    if (!(error instanceof MagmarkError)) throw error;
    log.fatal({ code: error.code, faults: error.message.split('\n') }, 'cannot start');
    exit(error.exitCode);
  }
}

function lossWarnings(): string[] {
  const { dropped, isStuck } = logLosses();
  const lines = [];
  if (isStuck)
    lines.push('the reader of the log does not read: lines wait, and are dropped when there are too many');
  if (dropped > 0) lines.push(`${dropped} lines of the log were dropped: its reader did not read them`);
  return lines;
}

/** A read of a file that never ends keeps its thread, which an ordinary end would wait for. */
function exit(code: number): never {
  if (lateReads().length > 0) {
    process.emit('exit', code);
    process.kill(process.pid, 'SIGKILL');
  }
  process.exit(code);
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
