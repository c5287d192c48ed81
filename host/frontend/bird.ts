/** One run of the program: started, asked, ended. */
import { readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Run, run } from '../programs/command.js';
import { onFile } from '../programs/file.js';
import { Guarded, type GuardFiles } from '../programs/guarded.js';
import { ConfigError, ControlError } from '../types/errors.js';
import { BirdControl } from './control.js';
import { type Message, readMessage } from './message.js';
import { type Reply, refusalOf } from './reply.js';

/** BIRD is ready 10 ms after its start and answers within 1: what takes this long hangs, however loaded the machine is. */
const START_MS = 5000;
const ANSWER_MS = 3000;
/** What it is told to announce is urgent: who does not take it within this time is ended, which withdraws everything. */
const CONFIGURE_MS = 1000;
const CHECK_MS = 5000;
const CONNECT_AGAIN_MS = 5;
const PROGRAM = 'bird';

/** Files of one instance. */
export class BirdFiles {
  readonly configuration: string;
  readonly draft: string;
  readonly socket: string;
  readonly pid: string;
  /** Who keeps it, and what it prints. */
  readonly guard: GuardFiles;

  constructor(readonly directory: string) {
    this.configuration = join(directory, 'bird.conf');
    this.draft = join(directory, 'bird.conf.draft');
    this.socket = join(directory, 'bird.ctl');
    this.pid = join(directory, 'bird.pid');
    this.guard = { alive: join(directory, 'bird.alive'), output: join(directory, 'bird.output') };
  }

  /** Remove them, and their directory unless others use it too. */
  async remove(): Promise<void> {
    const { alive, output } = this.guard;
    for (const file of [this.configuration, this.draft, this.socket, this.pid, alive, output]) {
      await onFile('remove', file, () => rm(file, { force: true }));
    }
    await onFile('remove', this.directory, async () => {
      try {
        await rmdir(this.directory);
      } catch (error) {
        if (!['ENOENT', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code!)) throw error;
      }
    });
  }
}

/** @throws ConfigError with BIRD's words about a file that it would not load */
export async function checkConfiguration(file: string, command: Run = run): Promise<void> {
  const options = { allowFailure: true, boundMs: CHECK_MS };
  const { exitCode, stderr, stdout } = await command('bird', ['-p', '-c', file], options);
  if (exitCode !== 0) throw refused(stderr.trim() || stdout.trim() || `exit code ${exitCode}`);
}

function refused(words: string): ConfigError {
  return new ConfigError([`gateways: BIRD refuses what was written for it: ${words}`]);
}

export class Bird {
  /** null while it does not answer yet. */
  pid: number | null = null;
  private control: BirdControl | null = null;
  private lastError: string | null = null;
  private program: Guarded | null = null;

  private constructor(
    private readonly files: BirdFiles,
    private readonly onMessage: (message: Message) => void,
  ) {}

  /**
   * Returns when it answers.
   * @param onMessage is called with each line that it logs
   * @throws ControlError with its words, if it ended before, or does not answer and was killed
   */
  static async start(files: BirdFiles, onMessage: (message: Message) => void): Promise<Bird> {
    await onFile('remove', files.socket, () => rm(files.socket, { force: true }));
    const args = ['-f', '-c', files.configuration, '-s', files.socket, '-P', files.pid];
    const bird = new Bird(files, onMessage);
    bird.program = await Guarded.start(files.guard, PROGRAM, args, line => bird.hear(line));
    try {
      await bird.connectSoon();
    } catch (error) {
      await bird.kill();
      throw error;
    }
    return bird;
  }

  /** One that another daemon started and keeps: it goes on when that one leaves it. null: there is none that answers. */
  static async join(files: BirdFiles, onMessage: (message: Message) => void): Promise<Bird | null> {
    const bird = new Bird(files, onMessage);
    bird.program = Guarded.join(files.guard, PROGRAM, line => bird.hear(line));
    if (bird.program === null) return null;
    try {
      await bird.connect(ANSWER_MS);
      return bird;
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      bird.leave();
      return null;
    }
  }

  /** Resolves when it has ended, with how, and its last error. Never rejects. */
  get ended(): Promise<string> {
    return this.program!.ended.then(how => this.withLastError(how));
  }

  /** Have it look at the draft. @throws ConfigError with its words; ControlError if it does not answer */
  async check(): Promise<void> {
    const refusal = refusalOf(await this.ask(`configure check "${this.files.draft}"`, CONFIGURE_MS));
    if (refusal !== null) throw refused(refusal);
  }

  /** Have it read its file. @throws ConfigError with its words; ControlError if it does not answer */
  async configure(): Promise<void> {
    const refusal = refusalOf(await this.ask('configure', CONFIGURE_MS));
    if (refusal !== null) throw refused(refusal);
  }

  /** @throws ControlError if it does not answer; the connection is of no use then */
  ask(command: string, boundMs = ANSWER_MS): Promise<Reply> {
    if (this.control === null) throw new ControlError(`${command}: BIRD does not answer yet`);
    return this.control.ask(command, boundMs);
  }

  /** Ask it to end: it says good-bye to its neighbours and takes its routes away. @returns whether it did so in time */
  async stop(graceMs: number): Promise<boolean> {
    const patience = new AbortController();
    const late = delay(graceMs, null, { signal: patience.signal }).catch(() => null);
    // Its end closes the connection, also before the answer was read.
    this.ask('down').catch(() => null);
    await Promise.race([this.program!.ended, late]);
    patience.abort();
    this.control?.close();
    this.program!.kill();
    return (await this.program!.ended) === 'exit code 0';
  }

  /** Its sessions end with it, its routes stay. @param why told with its end */
  async kill(why: string | null = null): Promise<void> {
    this.lastError ??= why;
    this.control?.close();
    this.program!.kill();
    await this.program!.ended;
  }

  /** Leave it to another daemon that has joined it; without one it ends. */
  leave(): void {
    this.control?.close();
    this.program!.leave();
  }

  private hear(line: string): void {
    const message = readMessage(line);
    if (message.level === 'error') this.lastError = message.text;
    this.onMessage(message);
  }

  private async connectSoon(): Promise<void> {
    const program = this.program!;
    const end = performance.now() + START_MS;
    while (!program.hasEnded) {
      const left = end - performance.now();
      if (left <= 0) throw new ControlError(`BIRD does not answer ${START_MS} ms after its start`);
      try {
        return await this.connect(left);
      } catch (error) {
        // Until its socket is there.
        if (!(error instanceof ControlError)) throw error;
        await delay(CONNECT_AGAIN_MS);
      }
    }
    throw new ControlError(`BIRD ended at its start: ${this.withLastError(await program.ended)}`);
  }

  private async connect(boundMs: number): Promise<void> {
    this.control = await BirdControl.connect(this.files.socket, boundMs);
    // It is written before the first connection is taken.
    this.pid = Number(await onFile('read', this.files.pid, () => readFile(this.files.pid, 'utf8')));
  }

  private withLastError(how: string): string {
    return this.lastError === null ? how : `${how}: ${this.lastError}`;
  }
}
