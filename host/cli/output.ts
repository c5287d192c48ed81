/** stdout for much text: waits where the reader is slow, ends quietly where it went away (`| head`). */
import { once } from 'node:events';

const PIECE_CHARACTERS = 65_536;

export class Output {
  private pending = '';

  constructor(private readonly stream: NodeJS.WriteStream = process.stdout) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
  }

  async write(text: string): Promise<void> {
    this.pending += text;
    if (this.pending.length >= PIECE_CHARACTERS) await this.flush();
  }

  async end(): Promise<void> {
    await this.flush();
  }

  private async flush(): Promise<void> {
    const text = this.pending;
    this.pending = '';
    if (text !== '' && !this.stream.write(text)) await once(this.stream, 'drain');
  }
}
