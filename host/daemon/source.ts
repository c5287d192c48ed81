/** Where configurations come from: the file, a client, or what was kept of an earlier run. */
import { readText } from '../config/file.js';
import { loadConfig } from '../config/load.js';
import type { Config } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import type { KeptState } from './kept-state.js';

/** Where the configuration in force came from. */
export interface Source {
  /**
   * - file: it was read;
   * - apply: it was sent, and stays until the file is read again;
   * - state: no file was named, and what was applied last was kept.
   */
  readonly kind: 'file' | 'apply' | 'state';
  /** Path of the file; of what was kept, the path that it had then. */
  readonly name: string;
  /** When it came into force. */
  readonly at: Date;
}

/** A configuration that may be brought about. */
export interface Found extends Pick<Source, 'kind' | 'name'> {
  readonly config: Config;
  readonly text: string;
}

/** @throws ConfigError with one line per fault */
export function found(kind: Source['kind'], name: string, text: string): Found {
  return { kind, name, text, config: loadConfig(text, name) };
}

/**
 * What a start begins with.
 * @throws ConfigError with one line per fault; those of what was kept begin with the state file's path
 */
export async function firstConfiguration(configFile: string | null, state: KeptState): Promise<Found> {
  if (configFile !== null) return found('file', configFile, await readText(configFile));
  const { name, text } = await state.read();
  try {
    return found('state', name, text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.faults.map(fault => `${state.path}, kept of ${name}: ${fault}`));
  }
}
