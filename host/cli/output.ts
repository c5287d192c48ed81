/** stdout for much text: waits where the reader is slow. It, and every other command's, ends quietly where the reader went away (`| head`). */
import { once } from 'node:events';
import { EnvironmentError } from '../types/errors.js';

const PIECE_CHARACTERS = 65_536;

/** Whoever reads may have enough; what else befalls standard output is an error, exit 2. */
export function endWithReader(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    const fault = new EnvironmentError(`standard output cannot be written: ${error.message}`);
    process.stderr.write(`${fault.message}\n`);
    process.exit(fault.exitCode);
  });
}

export class Output {
  private pending = '';
  private soon: NodeJS.Immediate | null = null;
  /** While the reader is slow: one wait for all that is written meanwhile. */
  private drained: Promise<unknown> | null = null;

  /** `stream` is one of `endWithReader`. */
  constructor(private readonly stream: NodeJS.WriteStream = process.stdout) {}

  async write(text: string): Promise<void> {
    this.pending += text;
    if (this.pending.length >= PIECE_CHARACTERS) await this.flush();
  }

  /** For what is watched while it happens: written before the present turn of the event loop ends. */
  async live(text: string): Promise<void> {
    await this.write(text);
    this.soon ??= setImmediate(() => {
      this.soon = null;
      void this.flush();
    });
  }

  async end(): Promise<void> {
    await this.flush();
  }

  private async flush(): Promise<void> {
    const text = this.pending;
    this.pending = '';
    if (text === '' || this.stream.write(text)) return;
    this.drained ??= once(this.stream, 'drain').finally(() => {
      this.drained = null;
    });
    await this.drained;
  }
}
