/** Configuration files: read, checked, and for commands that apply nothing, what is probably not meant told on stderr. */
import { readFileSync } from 'node:fs';
import type { Config } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import { loadConfig } from './load.js';
import { configWarnings } from './resolve.js';

/** @throws ConfigError that names it */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError([`${file}: cannot be read: ${(error as Error).message}`]);
  }
}

/** @throws ConfigError with one line per fault */
export function readConfig(file: string): Config {
  return loadConfig(readText(file), file);
}

/** @throws ConfigError with one line per fault; warnings go to stderr */
export function readConfigWithWarnings(file: string): Config {
  const config = readConfig(file);
  for (const warning of configWarnings(config)) process.stderr.write(`warning: ${warning}\n`);
  return config;
}
