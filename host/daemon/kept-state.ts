/**
 * The configuration that was brought about last, kept on disk as its text: a start with no file named has it.
 *
 * It belongs to no boot and no network namespace, other than the journal, which tells of things in one namespace's kernel: a
 * reboot, or a container that is made anew, gives another namespace, and that is when it is wanted. What keeps two
 * daemons apart is the path, which bears the namespace's name where it has one.
 */
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { MAX_TEXT_BYTES } from '../config/load.js';
import { makeDirectory } from '../control/socket.js';
import { replaceSynced, syncDirectory } from '../programs/durable.js';
import { ConfigError, MagmarkError } from '../types/errors.js';
import { readRegularFile } from '../util/regular-file.js';

/** State that outlives the machine's boots (FHS, 5.8). */
export const STATE_DIRECTORY = '/var/lib/magmark';

/** @param namespace its name as `ip netns` knows it; null: it has none, as in a container */
export function statePath(namespace: string | null): string {
  return join(STATE_DIRECTORY, namespace === null ? 'state.json' : `state-${namespace}.json`);
}

/** What is kept. */
export interface Kept {
  /** What the text was called: the path of its file. */
  readonly name: string;
  readonly text: string;
  /** When it was brought about. */
  readonly at: Date;
}

const VERSION = 1;
/** JSON writes a character of a configuration as two bytes at most: `\\n`. */
const MOST_BYTES = 2 * MAX_TEXT_BYTES + 64 * 1024;

/** The file: one JSON object. */
interface Contents {
  readonly version: typeof VERSION;
  readonly name: string;
  /** ISO 8601. */
  readonly at: string;
  /** Of the text, hexadecimal: a damaged file that is still JSON would be another configuration. */
  readonly sha256: string;
  readonly text: string;
}

export class KeptState {
  /** Why the configuration in force is not the one that is kept; null: it is. */
  fault: string | null = null;
  /** When the one that is kept was written or read by this process. */
  keptAt: Date | null = null;

  private last: Promise<void> = Promise.resolve();

  constructor(readonly path: string) {}

  /** For people. */
  get warnings(): readonly string[] {
    if (this.fault === null) return [];
    return [
      `what is in force is not kept for a start without a file: ${this.fault}. Make room there, or name another place by --state`,
    ];
  }

  /** @throws ConfigError naming the file and its fault */
  async read(): Promise<Kept> {
    let text: string;
    try {
      text = await readRegularFile(this.path, { mostBytes: MOST_BYTES, own: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        throw new ConfigError([
          `${this.path}: nothing is kept there of an earlier run: name a configuration by --config`,
        ]);
      }
      throw this.unusable(`cannot be read: ${(error as Error).message}`);
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw this.unusable((error as Error).message);
    }
    const { name, at, text: kept } = this.checked(value);
    this.keptAt = new Date(at);
    return { name, text: kept, at: this.keptAt };
  }

  /** Keep it. What goes wrong is a `fault` and no error: a full disk is no reason to refuse a change that was made. */
  keep(kept: Kept): Promise<void> {
    // One that was given up may still wait for its disk: a later one writes after it.
    const written = this.last.then(() => this.write(kept));
    this.last = written.catch(() => undefined);
    return written;
  }

  private async write({ name, text, at }: Kept): Promise<void> {
    const contents: Contents = { version: VERSION, name, at: at.toISOString(), sha256: sha256(text), text };
    try {
      makeDirectory(dirname(this.path));
      await replaceSynced('state', this.path, `${JSON.stringify(contents)}\n`);
      await syncDirectory('state', this.path);
    } catch (error) {
      if (!(error instanceof MagmarkError)) throw error;
      this.fault = error.message;
      return;
    }
    this.fault = null;
    this.keptAt = at;
  }

  private checked(value: unknown): Contents {
    if (typeof value !== 'object' || value === null || !('version' in value)) {
      throw this.unusable('not a state of magmark');
    }
    const { version, name, at, sha256: digest, text } = value as Record<string, unknown>;
    if (version !== VERSION) {
      throw this.unusable(`of version ${JSON.stringify(version)}, and this magmark reads ${VERSION}`);
    }
    if (typeof name !== 'string' || typeof at !== 'string' || typeof text !== 'string') {
      throw this.unusable('its name, time or text is missing');
    }
    if (Number.isNaN(Date.parse(at))) throw this.unusable(`${JSON.stringify(at)} is no time`);
    if (digest !== sha256(text)) throw this.unusable('its text is not the one that was written (sha256)');
    return { version, name, at, sha256: digest as string, text };
  }

  private unusable(fault: string): ConfigError {
    return new ConfigError([
      `${this.path}: ${fault}; it is not used: name a configuration by --config, which takes its place`,
    ]);
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
