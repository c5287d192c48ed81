/** Ranges of numbers in text: ports `a-b`, queues `a:b`. */
import type { PortRange } from '../types/config.js';
import { shown } from '../types/text.js';

/** At most this many queues, each with a thread of its own. */
const MAX_QUEUES = 64;

/** @returns the range, or the fault as a string */
export function parsePortRange(text: string): PortRange | string {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text);
  if (match === null) return `${shown(text)} is not a port range: write "n" or "a-b"`;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (first < 1 || last > 65535) return `${shown(text)} is not within ports 1 to 65535`;
  if (first > last) return `${shown(text)} is reversed: write ${last}-${first}`;
  return { first, last };
}

/** @returns both ends, or the fault as a string */
export function parseQueues(text: string): { first: number; last: number } | string {
  const match = /^([0-9]{1,5})(?::([0-9]{1,5}))?$/.exec(text);
  if (match === null) return `${shown(text)} is not a queue range: write one number or "first:last"`;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (last > 65535) return `${shown(text)} is not within queues 0 to 65535`;
  if (first > last) return `${shown(text)} is reversed: write ${last}:${first}`;
  if (last - first >= MAX_QUEUES) return `${shown(text)} has more than ${MAX_QUEUES} queues`;
  return { first, last };
}
