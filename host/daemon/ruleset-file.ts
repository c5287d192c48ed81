/** The applied ruleset as text, for who has no nft, or no right to ask the kernel. */
import { rm } from 'node:fs/promises';
import { replaceSynced } from '../programs/durable.js';
import { onFile } from '../programs/file.js';
import { EnvironmentError } from '../types/errors.js';

/** Everyone may read it. */
const MODE = 0o644;

export class RulesetFile {
  /** What each file holds, by its path. */
  private readonly written = new Map<string, string>();
  private last: Promise<unknown> = Promise.resolve();

  /** @param ownPath  in the run directory; always written */
  constructor(private readonly ownPath: string) {}

  /**
   * Write `text` where it is not yet.
   * @param configured  a second place; null: none. A former one is removed
   * @returns one line for each file that could not be written or removed
   */
  keep(text: string, configured: string | null): Promise<string[]> {
    return this.inTurn(async () => {
      const paths = [this.ownPath, ...(configured === null ? [] : [configured])];
      const former = [...this.written.keys()].filter(path => !paths.includes(path));
      return [
        ...(await this.removeAll(former)),
        ...(await warningsOf(paths, async path => {
          if (this.written.get(path) === text) return;
          await replaceSynced('ruleset file', path, text, undefined, MODE);
          this.written.set(path, text);
        })),
      ];
    });
  }

  /** Nothing is applied any more. @returns one line for each file that could not be removed */
  remove(): Promise<string[]> {
    return this.inTurn(() => this.removeAll([...this.written.keys()]));
  }

  private removeAll(paths: readonly string[]): Promise<string[]> {
    return warningsOf(paths, async path => {
      await onFile('remove ruleset file', path, () => rm(path, { force: true }));
      this.written.delete(path);
    });
  }

  /** A write that was given up may still wait for its disk: a removal follows it. */
  private inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(step);
    this.last = result.catch(() => undefined);
    return result;
  }
}

async function warningsOf(
  paths: readonly string[],
  step: (path: string) => Promise<void>,
): Promise<string[]> {
  const warnings: string[] = [];
  for (const path of paths) {
    try {
      await step(path);
    } catch (error) {
      if (!(error instanceof EnvironmentError)) throw error;
      warnings.push(error.message);
    }
  }
  return warnings;
}
