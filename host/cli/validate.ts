/** `magmark validate`: what is wrong with a file, without touching anything. */
import { readConfigWithWarnings } from '../config/file.js';

/** @throws ConfigError with one line per fault; warnings go to stderr */
export function validate(file: string): void {
  readConfigWithWarnings(file);
  process.stdout.write(`${file}: valid\n`);
}
