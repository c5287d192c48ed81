/**
 * Tells when a file may hold something else: written in place, replaced by rename, or because a symbolic link on the way
 * to it leads elsewhere, as Kubernetes swaps the `..data` of a ConfigMap.
 *
 * Watched are the directories, never the file: a watch follows the inode, and what replaces the file is another one.
 * Where a directory cannot be watched, and now and then in any case, the file is read again.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import { type Step, stepsTo } from './file-path.js';
import type { Log } from './log.js';

export interface FileWatchOptions {
  readonly file: string;
  /** Called once nothing was told for `QUIET_MS`; what is in the file then is for the callee to compare. */
  readonly onChange: () => void;
  readonly log: Pick<Log, 'warn'>;
  /** Called with all that holds whenever it changes: directories that cannot be watched, one line each. */
  readonly onFaults: (lines: readonly string[]) => void;
  readonly watch?: typeof watch;
  readonly pollMs?: PollTimes;
}

/** How often the file is read again: while a directory cannot be watched, and in any case. */
export interface PollTimes {
  readonly unwatched: number;
  /** Network and FUSE file systems tell nothing of what another machine writes. */
  readonly always: number;
}

const POLL_MS: PollTimes = { unwatched: 5000, always: 30_000 };

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
  /** Directories that cannot be watched, with the system's answer. */
  private readonly unwatched = new Map<string, string>();
  private timer: NodeJS.Timeout | null = null;
  private polling: NodeJS.Timeout | null = null;
  private stopped = false;

  private constructor(private readonly options: FileWatchOptions) {}

  /** What changed before it stands is told too: `onChange` is called once at its begin. */
  static start(options: FileWatchOptions): FileWatch {
    const started = new FileWatch(options);
    started.follow();
    started.soon();
    started.poll();
    return started;
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    if (this.polling !== null) clearTimeout(this.polling);
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
    for (const directory of this.unwatched.keys()) if (!names.has(directory)) this.recover(directory);
  }

  private watch(directory: string, names: ReadonlySet<string>): void {
    const identity = identityOf(directory);
    // The step before it is watched, and tells when it comes.
    if (identity === null) {
      this.recover(directory);
      return;
    }
    try {
      const watcher = (this.options.watch ?? watch)(directory, (_, name) => this.onEvent(directory, name));
      watcher.on('error', error => {
        watcher.close();
        this.places.delete(directory);
        this.refuse(directory, error);
      });
      this.places.set(directory, { watcher, identity, names });
      this.recover(directory);
    } catch (error) {
      this.refuse(directory, error as Error);
    }
  }

  /** Once for each directory: no right to read it, or no more watches (fs.inotify.max_user_watches). */
  private refuse(directory: string, error: Error): void {
    const isNew = !this.unwatched.has(directory);
    this.unwatched.set(directory, error.message);
    if (!isNew) return;
    const { file, log } = this.options;
    log.warn(
      { file, directory, err: error },
      'this directory cannot be watched: the file is read again from time to time',
    );
    this.poll();
    this.tellFaults();
  }

  private recover(directory: string): void {
    if (this.unwatched.delete(directory)) this.tellFaults();
  }

  private tellFaults(): void {
    const { file, onFaults } = this.options;
    const { unwatched: every } = this.pollMs;
    onFaults(
      [...this.unwatched].map(
        ([directory, answer]) =>
          `--watch: ${directory} cannot be watched (${answer}): ${file} is read again every ${every / 1000} s; ` +
          'raise fs.inotify.max_user_watches and max_user_instances, or make the directory readable',
      ),
    );
  }

  private get pollMs(): PollTimes {
    return this.options.pollMs ?? POLL_MS;
  }

  /** Read the file again later, with or without an event. */
  private poll(): void {
    if (this.polling !== null) clearTimeout(this.polling);
    if (this.stopped) return;
    const ms = this.unwatched.size > 0 ? this.pollMs.unwatched : this.pollMs.always;
    this.polling = setTimeout(() => {
      if (this.timer === null) this.soon();
      this.poll();
    }, ms);
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
