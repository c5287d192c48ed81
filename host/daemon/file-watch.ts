/**
 * Tells when a file may hold something else: written in place, replaced by rename, or because a symbolic link on the way
 * to it leads elsewhere, as Kubernetes swaps the `..data` of a ConfigMap.
 *
 * Watched are the directories, never the file: a watch follows the inode, and what replaces the file is another one.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import { type Step, stepsTo } from './file-path.js';
import type { Log } from './log.js';

export interface FileWatchOptions {
  readonly file: string;
  /** Called once nothing was told for `QUIET_MS`; what is in the file then is for the callee to compare. */
  readonly onChange: () => void;
  readonly log: Pick<Log, 'warn'>;
}

/**
 * Who writes in place does so in several steps, of which the kernel tells each; that it has closed the file (IN_CLOSE_WRITE)
 * fs.watch does not tell. A rename needs no such rest, and waits all the same.
 */
const QUIET_MS = 100;

/** One directory that is watched, for some of its names. */
interface Place {
  readonly watcher: FSWatcher;
  /** Device and inode: a directory that was replaced is watched anew. */
  readonly identity: string;
  names: ReadonlySet<string>;
}

export class FileWatch {
  private readonly places = new Map<string, Place>();
  private readonly unwatched = new Set<string>();
  private timer: NodeJS.Timeout | null = null;
  private stopped = false;

  private constructor(private readonly options: FileWatchOptions) {}

  /** What changed before it stands is told too: `onChange` is called once at its begin. */
  static start(options: FileWatchOptions): FileWatch {
    const started = new FileWatch(options);
    started.follow();
    started.soon();
    return started;
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    for (const { watcher } of this.places.values()) watcher.close();
    this.places.clear();
  }

  /** Watch the way to the file as it is now. */
  private follow(): void {
    const names = namesByDirectory(stepsTo(this.options.file));
    for (const [directory, place] of this.places) {
      if (names.has(directory) && identityOf(directory) === place.identity) continue;
      place.watcher.close();
      this.places.delete(directory);
    }
    for (const [directory, wanted] of names) {
      const place = this.places.get(directory);
      if (place !== undefined) place.names = wanted;
      else this.watch(directory, wanted);
    }
  }

  private watch(directory: string, names: ReadonlySet<string>): void {
    const identity = identityOf(directory);
    // The step before it is watched, and tells when it comes.
    if (identity === null) return;
    try {
      const watcher = watch(directory, (_, name) => this.onEvent(directory, name));
      watcher.on('error', error => this.refuse(directory, error));
      this.places.set(directory, { watcher, identity, names });
      this.unwatched.delete(directory);
    } catch (error) {
      this.refuse(directory, error as Error);
    }
  }

  /** Once for each directory: no right to read it, or no more watches (fs.inotify.max_user_watches). */
  private refuse(directory: string, error: Error): void {
    if (this.unwatched.has(directory)) return;
    this.unwatched.add(directory);
    const { file, log } = this.options;
    log.warn(
      { file, directory, err: error },
      'what changes in this directory is not noticed before a SIGHUP',
    );
  }

  private onEvent(directory: string, name: string | null): void {
    const place = this.places.get(directory);
    if (this.stopped || place === undefined) return;
    // Of itself a directory tells by its own name, or none: it was moved or removed.
    if (name !== null && !place.names.has(name) && identityOf(directory) === place.identity) return;
    this.follow();
    this.soon();
  }

  private soon(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = null;
      // What came between the event and the new watches.
      this.follow();
      this.options.onChange();
    }, QUIET_MS);
  }
}

function namesByDirectory(steps: readonly Step[]): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  for (const { directory, name } of steps) {
    const of = names.get(directory) ?? new Set();
    names.set(directory, of.add(name));
  }
  return names;
}

/** null: there is none, or none that may be looked at; then the file cannot be read either, which its reader tells. */
function identityOf(directory: string): string | null {
  try {
    const found = statSync(directory);
    return found.isDirectory() ? `${found.dev}:${found.ino}` : null;
  } catch {
    return null;
  }
}
