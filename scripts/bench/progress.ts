/** What a benchmark has measured so far, for the person who waits for it. */

/** A file or a pipe gets a line this often at most; a terminal has one line, written again at each step. */
const LINE_MS = 5000;

export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export class Progress {
  private part = '';
  private done = 0;
  private total = 0;
  private writtenAt = Number.NEGATIVE_INFINITY;
  private readonly startedAt: number;

  constructor(
    private readonly benchmark: string,
    private readonly output: Output = process.stderr,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.startedAt = now();
  }

  /** A part begins; it always gets a line. @param total its steps */
  begin(part: string, total: number): void {
    this.part = part;
    this.done = 0;
    this.total = total;
    this.write();
  }

  /** One step of the part has ended. */
  step(): void {
    this.done++;
    if (this.output.isTTY || this.now() - this.writtenAt >= LINE_MS) this.write();
  }

  /** Leave a terminal's line as it is: what follows is the result. */
  end(): void {
    if (this.output.isTTY && this.part !== '') this.output.write('\n');
  }

  private write(): void {
    this.writtenAt = this.now();
    const seconds = Math.round((this.writtenAt - this.startedAt) / 1000);
    const text = `${this.benchmark}: ${this.part}, ${this.done} of ${this.total}, after ${seconds} s`;
    this.output.write(this.output.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  }
}
