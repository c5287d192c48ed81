/** `magmark validate`: what is wrong with a file, without touching anything. */
import { readConfig } from '../config/file.js';
import { configWarnings } from '../config/resolve.js';
import { forecast } from '../core/forecast.js';
import { printable } from '../types/text.js';

/** @throws ConfigError with one line per fault, ImageError if it fits no daemon's memory; warnings go to stderr, with `json` to stdout */
export async function validate(file: string, { json }: { readonly json?: boolean }): Promise<void> {
  const config = await readConfig(file);
  const warnings = [...configWarnings(config), ...forecast(config)];
  if (json) {
    process.stdout.write(`${JSON.stringify({ valid: true, warnings }, null, 2)}\n`);
    return;
  }
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  process.stdout.write(`${printable(file)}: valid\n`);
}
