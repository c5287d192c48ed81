/** `magmark validate`: what is wrong with a file, without touching anything. */
import { readFileSync } from 'node:fs';
import { loadConfig } from '../config/load.js';
import { configWarnings } from '../config/resolve.js';
import { ConfigError } from '../types/errors.js';

/** @throws ConfigError with one line per fault; warnings go to stderr */
export function validate(file: string): void {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError([`${file}: cannot be read: ${(error as Error).message}`]);
  }
  for (const warning of configWarnings(loadConfig(text, file))) process.stderr.write(`warning: ${warning}\n`);
  process.stdout.write(`${file}: valid\n`);
}
