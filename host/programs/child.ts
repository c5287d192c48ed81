/**
 * Programs that run as long as this process: the monitors of the kernel's events. They die with it, whatever ends it:
 * the kernel sends them SIGKILL when their parent is gone (PR_SET_PDEATHSIG, by setpriv of util-linux).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { readLines } from '../util/lines.js';
import { PATH } from './command.js';
import { refuseWithoutDescriptors } from './descriptors.js';

export interface ChildOptions {
  /** Called with each line of stdout. */
  readonly onLine?: (line: string) => void;
  /** Called with each line of stderr; what matters of it is the caller's to log. */
  readonly onErrorLine?: (line: string) => void;
}

/**
 * In a shell whose first word is its parent's pid: a parent that died before the kernel was told to watch it is noticed,
 * and nothing is started.
 */
export const WHILE_PARENT_LIVES = '[ "$PPID" = "$0" ]';
const LAUNCH = `${WHILE_PARENT_LIVES} && exec "$@"`;
/** Exit code of a shell whose program is not there (POSIX, 2.8.2). */
export const NOT_FOUND = 127;

export class Child {
  /** Resolves when it has ended, with how: `exit code 1`, `signal SIGKILL`, `not installed`. Never rejects. */
  readonly ended: Promise<string>;
  private end: string | null = null;

  private constructor(
    private readonly child: ChildProcess | null,
    program: string,
    options: ChildOptions,
    refusal = '',
  ) {
    const { onLine, onErrorLine } = options;
    if (child?.stdout) readLines(child.stdout, { onLine: onLine ?? (() => {}) });
    if (child?.stderr) readLines(child.stderr, { onLine: onErrorLine ?? (() => {}) });
    this.ended = new Promise(resolve => {
      const finish = (how: string): void => {
        this.end = how;
        resolve(how);
      };
      if (child === null) return finish(refusal);
      child.once('error', error => finish(`${program} could not be started: ${error.message}`));
      child.once('close', (code, signal) => {
        if (signal !== null) finish(`signal ${signal}`);
        else finish(code === NOT_FOUND ? `${program} is not installed` : `exit code ${code}`);
      });
    });
  }

  /** Start `program`; that it could not be started is an end like others. */
  static start(program: string, args: readonly string[], options: ChildOptions = {}): Child {
    const argv = ['--pdeathsig', 'KILL', '--', 'sh', '-c', LAUNCH, String(process.pid), program, ...args];
    try {
      refuseWithoutDescriptors(program);
    } catch (error) {
      return new Child(null, program, options, (error as Error).message);
    }
    const child = spawn('setpriv', argv, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', PATH },
    });
    return new Child(child, program, options);
  }

  /** undefined if it never started. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  get hasEnded(): boolean {
    return this.end !== null;
  }

  kill(signal: NodeJS.Signals): void {
    if (!this.hasEnded) this.child?.kill(signal);
  }

  /** SIGTERM, and SIGKILL after `graceMs`; returns when it has ended. */
  async stop(graceMs: number): Promise<void> {
    this.kill('SIGTERM');
    const patience = new AbortController();
    const late = delay(graceMs, null, { signal: patience.signal }).catch(() => null);
    await Promise.race([this.ended, late]);
    patience.abort();
    this.kill('SIGKILL');
    await this.ended;
  }
}
