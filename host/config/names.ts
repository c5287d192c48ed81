/** Names that the kernel gives a meaning: of interfaces and of files. */
import { z } from 'zod';
import { printable } from '../types/text.js';

/** Bytes of an interface's name, less the final 0 (IFNAMSIZ in linux/if.h). */
const MOST_NAME_BYTES = 15;
/** The kernel's PATH_MAX, less the final 0. */
const MOST_PATH_BYTES = 4095;

const SIZE = `1 to ${MOST_NAME_BYTES} bytes`;
const CHARACTERS = 'no space, slash, colon, quote, control character or "*", and no "@" at its begin';

/** The kernel takes any other bytes (dev_valid_name in net/core/dev.c); those that steer a terminal are refused besides. */
function fits(text: string): boolean {
  return Buffer.byteLength(text) <= MOST_NAME_BYTES && text === printable(text);
}

const NAME_FAULT = { error: `an interface name has ${SIZE}, ${CHARACTERS}`, abort: true };
export const interfaceName = z
  .string()
  .regex(/^[^\s/:*"\\@][^\s/:*"\\]{0,14}$/, NAME_FAULT)
  .refine(fits, NAME_FAULT)
  .refine(text => text !== '.' && text !== '..', { error: 'not an interface name' });

const PATTERN_FAULT = {
  error: `an interface pattern is a name of ${SIZE}, or a shorter beginning with "*" at its end`,
  abort: true,
};
export const interfacePattern = z
  .string()
  .regex(/^[^\s/:*"\\@](?:[^\s/:*"\\]{0,14}|[^\s/:*"\\]{0,13}\*)$/, PATTERN_FAULT)
  .refine(fits, PATTERN_FAULT);

export const filePath = z
  .string()
  .min(1)
  .refine(text => Buffer.byteLength(text) <= MOST_PATH_BYTES && text === printable(text), {
    error: `a path has at most ${MOST_PATH_BYTES} bytes and no control character`,
  });
