/** One text for all who scrape at the same time: it takes the main thread 7 ms for 1,000 targets, and many may ask. */

/** A scrape that is so much younger than another one shows the same numbers. */
const LEAST_KEPT_MS = 100;
/** A text is kept for this many times what it took, so that scrapes take a fifth of the main thread at most. */
const KEPT_TIMES = 4;

export class Rendering {
  private text: Promise<Buffer> | null = null;
  private keptUntil = 0;

  /** @param now in milliseconds, for tests */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** What `render` gives, or gave a moment ago. Nothing of a failure is kept. */
  get(render: () => Promise<string>): Promise<Buffer> {
    if (this.text !== null && this.now() < this.keptUntil) return this.text;
    const text = this.render(render);
    this.text = text;
    this.keptUntil = Number.POSITIVE_INFINITY;
    text.catch(() => {
      this.text = null;
    });
    return text;
  }

  private async render(render: () => Promise<string>): Promise<Buffer> {
    const begun = this.now();
    const text = Buffer.from(await render());
    const ended = this.now();
    this.keptUntil = ended + Math.max(LEAST_KEPT_MS, KEPT_TIMES * (ended - begun));
    return text;
  }
}
