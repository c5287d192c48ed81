/** Configuration files: read, checked, and for commands that apply nothing, what is probably not meant told on stderr. */
import type { Config } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import { readRegularFile, readStandardInput } from '../util/regular-file.js';
import { loadConfig, MAX_TEXT_BYTES } from './load.js';
import { configWarnings } from './resolve.js';

/** @throws ConfigError that names it, also if it is no regular file or too long */
export function readText(file: string): Promise<string> {
  return orFault(file, readRegularFile(file, { mostBytes: MAX_TEXT_BYTES }));
}

/** For commands: `-` is standard input, which may be a pipe. @throws ConfigError that names it */
export function readArgument(file: string): Promise<string> {
  if (file === '-' || file === '/dev/stdin') return orFault(file, readStandardInput(MAX_TEXT_BYTES));
  return readText(file);
}

/** @throws ConfigError with one line per fault */
export async function readConfig(file: string): Promise<Config> {
  return loadConfig(await readArgument(file), file);
}

/** @throws ConfigError with one line per fault; warnings go to stderr */
export async function readConfigWithWarnings(file: string): Promise<Config> {
  const config = await readConfig(file);
  for (const warning of configWarnings(config)) process.stderr.write(`warning: ${warning}\n`);
  return config;
}

async function orFault(file: string, reading: Promise<string>): Promise<string> {
  try {
    return await reading;
  } catch (error) {
    throw new ConfigError([`${file}: cannot be read: ${(error as Error).message}`]);
  }
}
