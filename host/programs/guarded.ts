/**
 * A program that may outlive who started it, but not all who are in charge of it: BIRD, while one daemon takes over from
 * another. A small shell is its parent and its guard. Whoever is in charge holds the FIFO `alive` open for writing; when
 * nobody does, or one of them writes a line into it, the program is killed; it also dies with its guard
 * (PR_SET_PDEATHSIG). What it prints goes into the FIFO `output`, whose end is the end of both.
 */
import { spawn } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { constants as osConstants } from 'node:os';
import { readLines } from '../util/lines.js';
import { NOT_FOUND, WHILE_PARENT_LIVES } from './child.js';
import { PATH, run } from './command.js';
import { refuseWithoutDescriptors } from './descriptors.js';
import { onFile } from './file.js';

export interface GuardFiles {
  /** Paths of two FIFOs. */
  readonly alive: string;
  readonly output: string;
}

/** How the guard begins its only line. */
const ENDED = 'guard: ended with';
/** A shell's exit status for a program that a signal ended is the signal's number and this. */
const SIGNALLED = 128;

/**
 * Descriptor 3 is `alive`. The program prints to 4, where a write that finds no room fails: a reader that is slow does not hold
 * it up, and some of its lines are lost. The guard's own line waits for room. The watcher reads a line or the end of it. Each child dies with the guard, and starts nothing if
 * the guard died before the kernel was told so. The guard waits for both: nobody else might, in a container.
 * Signals that are sent to all processes of a service are for the program, not for its guard; what a shell ignores its
 * children do too.
 */
const GUARD = `
setpriv --pdeathsig KILL -- sh -c '${WHILE_PARENT_LIVES} && exec "$@"' $$ "$@" >&4 2>&4 3<&- 4>&- &
program=$!
trap '' TERM INT HUP
setpriv --pdeathsig KILL -- sh -c '${WHILE_PARENT_LIVES} && { read -r line; kill -KILL "$1"; }' $$ $program <&3 3<&- 4>&- >/dev/null 2>&1 &
watcher=$!
exec 3<&- 4>&- 2>/dev/null
wait $program
status=$?
kill -KILL $watcher
wait $watcher
echo "${ENDED} $status"
`;

export class Guarded {
  /** Resolves when it has ended, with how, in the words of `Child.ended`. Never rejects. */
  readonly ended: Promise<string>;
  private readonly reader: Socket;
  private status: number | null = null;
  private end: string | null = null;
  private left = false;

  /** @param alive descriptor, open for writing. @param output descriptor, open for reading without waiting */
  private constructor(
    private readonly alive: number,
    output: number,
    program: string,
    onLine: (line: string) => void,
  ) {
    this.reader = new Socket({ fd: output, readable: true, writable: false });
    this.ended = new Promise(resolve => {
      readLines(this.reader, {
        onLine: line => {
          if (line.startsWith(`${ENDED} `)) this.status = Number(line.slice(ENDED.length));
          else if (!this.left) onLine(line);
        },
        onEnd: () => {
          if (this.left) return;
          this.end = this.words(program);
          this.release();
          resolve(this.end);
        },
      });
    });
  }

  /**
   * Start `program` under a guard; that it could not be started is an end like others.
   * @throws EnvironmentError, KernelError if the FIFOs cannot be made
   */
  static async start(
    files: GuardFiles,
    program: string,
    args: readonly string[],
    onLine: (line: string) => void,
  ): Promise<Guarded> {
    refuseWithoutDescriptors(program);
    for (const path of [files.alive, files.output]) {
      await onFile('remove', path, () => rm(path, { force: true }));
    }
    await run('mkfifo', ['-m', '600', files.alive, files.output]);
    const guarded = Guarded.open(files, program, onLine);
    // Neither waits: this process has the other ends.
    const watched = openSync(files.alive, constants.O_RDONLY);
    const output = openSync(files.output, constants.O_WRONLY);
    const lossy = openSync(files.output, constants.O_WRONLY | constants.O_NONBLOCK);
    const child = spawn('sh', ['-c', GUARD, 'guard', program, ...args], {
      // A session of its own: the terminal's Ctrl-C is for the daemon.
      detached: true,
      stdio: ['ignore', output, output, watched, lossy],
      env: { ...process.env, LC_ALL: 'C', PATH },
    });
    // A shell that is missing leaves the output without a writer, which is the end.
    child.on('error', error => onLine(`sh: ${error.message}`));
    child.unref();
    closeSync(watched);
    closeSync(output);
    closeSync(lossy);
    return guarded;
  }

  /** Be in charge, beside whoever is, of a program that runs under a guard; null: there are no such files. */
  static join(files: GuardFiles, program: string, onLine: (line: string) => void): Guarded | null {
    if (!existsSync(files.alive) || !existsSync(files.output)) return null;
    return Guarded.open(files, program, onLine);
  }

  private static open(files: GuardFiles, program: string, onLine: (line: string) => void): Guarded {
    // For reading too, since opening a FIFO for writing alone waits for a reader; nothing is ever read.
    const alive = openSync(files.alive, constants.O_RDWR);
    const output = openSync(files.output, constants.O_RDONLY | constants.O_NONBLOCK);
    return new Guarded(alive, output, program, onLine);
  }

  get hasEnded(): boolean {
    return this.end !== null;
  }

  /** End it at once, whoever else is in charge. */
  kill(): void {
    if (this.hasEnded || this.left) return;
    writeSync(this.alive, '\n');
  }

  /** Be in charge no more: it ends if nobody else is. `ended` never resolves then. */
  leave(): void {
    if (this.hasEnded || this.left) return;
    this.left = true;
    this.reader.destroy();
    this.release();
  }

  private release(): void {
    closeSync(this.alive);
  }

  private words(program: string): string {
    const { status } = this;
    if (status === null) return 'its guard was killed';
    if (status === NOT_FOUND) return `${program} is not installed`;
    if (status <= SIGNALLED) return `exit code ${status}`;
    const number = status - SIGNALLED;
    const name = Object.entries(osConstants.signals).find(([, value]) => value === number)?.[0];
    return `signal ${name ?? number}`;
  }
}
