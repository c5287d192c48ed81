/** The processes of one run: short commands and long-lived programs, none of which outlives `end()`. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { MARK, processesOf } from './run-state.js';
import { waitFor } from './wait.js';

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

export interface CommandOptions {
  /** For stdin. */
  readonly input?: string;
  /** Answer with the exit code where it is not 0, and do not throw. */
  readonly mayFail?: boolean;
}

/** Exit code that stands for a signal. */
const SIGNALLED = 128;
const COMMAND_TIMEOUT_MS = 60_000;
const OUTPUT_BYTES = 64 * 1024 * 1024;
/** The daemon promises to stop within 2 s. */
const STOP_MS = 4000;

export class Processes {
  private readonly running = new Set<Promise<unknown>>();
  private ended = false;

  constructor(private readonly id: string) {}

  /**
   * Run a command to its end.
   * @throws Error with the command and what it said, if its exit code is not 0
   */
  async command(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    this.refuseAfterEnd(argv);
    const result = this.execute(argv, options);
    this.running.add(result);
    try {
      return await result;
    } finally {
      this.running.delete(result);
    }
  }

  private execute(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      const settings = { env: this.environment(), timeout: COMMAND_TIMEOUT_MS, maxBuffer: OUTPUT_BYTES };
      const child = execFile(argv[0]!, argv.slice(1), settings, (error, stdout, stderr) => {
        if (error === null) return resolve({ stdout, stderr, code: 0 });
        // Without a number a signal ended it, or it could not be started: then the code is a text.
        const code = typeof error.code === 'number' ? error.code : error.signal ? SIGNALLED : null;
        if (code !== null && options.mayFail) return resolve({ stdout, stderr, code });
        reject(new Error(`${argv.join(' ')}: ${stderr.trim() || error.message}`));
      });
      // A command that ended without reading all of it says why by its exit code.
      child.stdin!.on('error', () => undefined);
      child.stdin!.end(options.input ?? '');
    });
  }

  /**
   * Start a program that runs until it is ended, in a session of its own: a Ctrl-C of the terminal does not reach it.
   * @param logFile takes its stderr, and its stdout too unless that is a pipe
   */
  start(argv: readonly string[], logFile: string, stdio: 'log' | 'pipes' = 'log'): ChildProcess {
    this.refuseAfterEnd(argv);
    const log = openSync(logFile, 'a');
    try {
      const child = spawn(argv[0]!, argv.slice(1), {
        detached: true,
        env: this.environment(),
        stdio: stdio === 'pipes' ? ['pipe', 'pipe', log] : ['ignore', log, log],
      });
      // A program that cannot be started ends with this event; those who wait for it see its exit code missing.
      child.on('error', () => undefined);
      return child;
    } finally {
      closeSync(log);
    }
  }

  /** From now on nothing can be started; what runs is ended: commands by themselves, programs by SIGTERM, then SIGKILL. */
  async end(): Promise<void> {
    this.ended = true;
    await Promise.allSettled(this.running);
    await endProcesses(this.id);
  }

  /** That of a user: what a test runner puts in for its own processes would catch signals and write files. */
  private environment(): NodeJS.ProcessEnv {
    const foreign = /^(MAGMARK_SOCKET$|NODE_OPTIONS$|NODE_V8_|_?TAP)/;
    const inherited = Object.entries(process.env).filter(([name]) => !foreign.test(name));
    return { ...Object.fromEntries(inherited), LC_ALL: 'C', [MARK]: this.id };
  }

  private refuseAfterEnd(argv: readonly string[]): void {
    if (this.ended) throw new Error(`${argv.join(' ')}: the run is being ended`);
  }
}

/** End whatever belongs to a run. */
export async function endProcesses(id: string): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of processesOf(id)) kill(pid, signal);
    try {
      await waitFor(`the processes of ${id} to end`, STOP_MS, () => processesOf(id).length === 0);
      return;
    } catch (error) {
      if (signal === 'SIGKILL') throw error;
    }
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended by itself.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
