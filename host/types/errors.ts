/**
 * The one family of errors of the host. Each class has a stable code; the message says what was attempted, with which
 * value, and what the other side answered. It imports nothing.
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
/** A fault may quote whatever the file holds: characters that would break its line or steer a terminal are escaped. */
function printable(text: string): string {
  const escaped = (character: string): string =>
    `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`;
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

export abstract class MagmarkError extends Error {
  abstract readonly code: string;
  readonly exitCode: number = 1;
  override get name(): string {
    return this.constructor.name;
  }
}

export class ConfigError extends MagmarkError {
  readonly code = 'CONFIG_INVALID';
  readonly faults: readonly string[];

  /** @param faults `path: what is wrong`, each made one line whatever it quotes */
  constructor(faults: readonly string[]) {
    const lines = faults.map(printable);
    super(lines.join('\n'));
    this.faults = lines;
  }
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

  /** @param fault made one line whatever it quotes: the file's name is anybody's */
  constructor(fault: string) {
    super(printable(fault));
  }
}
