/**
 * The one family of errors of the host. Each class has a stable code; the message says what was attempted, with which
 * value, and what the other side answered. What comes from outside cannot break a message or steer a terminal.
 *
 * | code                | class             | exit code | when                                                           |
 * |---------------------|-------------------|-----------|----------------------------------------------------------------|
 * | `CONFIG_INVALID`    | ConfigError       | 1         | the configuration has faults; `faults` lists them, one a line  |
 * | `KERNEL_REFUSED`    | KernelError       | 1         | a command or socket call was refused by the kernel             |
 * | `CLASH`             | ClashError        | 1         | something that is not ours stands where we would write         |
 * | `ENVIRONMENT`       | EnvironmentError  | 2         | the machine lacks what is needed (rights, programs, kernel)    |
 * | `CONTROL_FAILED`    | ControlError      | 1         | the daemon cannot be reached, or refused the request           |
 * | `IMAGE_TOO_LARGE`   | ImageError        | 1         | the configuration does not fit the core's memory               |
 * | `CAPTURE_UNREADABLE`| CaptureError      | 1         | a capture file is damaged or of an unknown kind                |
 * | `TRACE_REFUSED`     | TraceError        | 1         | too many watch already                                         |
 */
import { cut, printable, printableLines } from './text.js';

export abstract class MagmarkError extends Error {
  abstract readonly code: string;
  readonly exitCode: number = 1;

  constructor(message: string, options?: ErrorOptions) {
    super(printableLines(message), options);
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/** Faults of one configuration that are listed. */
export const MOST_FAULTS = 100;
const MOST_CHARACTERS_OF_FAULT = 1000;

export class ConfigError extends MagmarkError {
  readonly code = 'CONFIG_INVALID';
  /** At most MOST_FAULTS, and a line that says how many more there are. */
  readonly faults: readonly string[];

  /** @param faults `path: what is wrong`, each made one line whatever it quotes */
  constructor(faults: readonly string[]) {
    const lines = bounded(faults).map(fault => printable(cut(fault, MOST_CHARACTERS_OF_FAULT)));
    super(lines.join('\n'));
    this.faults = lines;
  }
}

function bounded(faults: readonly string[]): readonly string[] {
  // One more line is the sum, of an error that is passed on.
  if (faults.length <= MOST_FAULTS + 1) return faults;
  return [...faults.slice(0, MOST_FAULTS), `and ${faults.length - MOST_FAULTS} more faults`];
}

export class KernelError extends MagmarkError {
  readonly code = 'KERNEL_REFUSED';
}

export class ClashError extends MagmarkError {
  readonly code = 'CLASH';
}

export class EnvironmentError extends MagmarkError {
  readonly code = 'ENVIRONMENT';
  override readonly exitCode = 2;
}

export class ControlError extends MagmarkError {
  readonly code = 'CONTROL_FAILED';
}

export class ImageError extends MagmarkError {
  readonly code = 'IMAGE_TOO_LARGE';
}

export class TraceError extends MagmarkError {
  readonly code = 'TRACE_REFUSED';
}

export class CaptureError extends MagmarkError {
  readonly code = 'CAPTURE_UNREADABLE';

  /** @param fault made one line whatever it quotes: anyone may name a file */
  constructor(fault: string) {
    super(printable(fault));
  }
}
