/** What a command that failed says: words on stderr; with `--json` an `ErrorReply` on stdout besides, as its only line. */
import type { ErrorReply } from '../control/api.js';
import { ConfigError, type MagmarkError } from '../types/errors.js';

/** Whether programs read what the command prints; also of a command line that cannot be parsed. */
export function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return (end < 0 ? args : args.slice(0, end)).includes('--json');
}

/** Of a command line that is wrong, which has no class of its own: commander says so. */
export const USAGE = 'USAGE';

export function errorReply(error: MagmarkError): ErrorReply {
  const { message, code } = error;
  return error instanceof ConfigError
    ? { error: message, code, faults: error.faults }
    : { error: message, code };
}

/** Tell it, and set the exit code. */
export function fail(error: MagmarkError, json: boolean): void {
  process.stderr.write(`${error.message}\n`);
  if (json) process.stdout.write(`${JSON.stringify(errorReply(error))}\n`);
  process.exitCode = error.exitCode;
}
