/**
 * Who runs on which CPU. The kernel does a packet's work where it is sent and where it is answered: should sender and
 * answerer meet on one CPU, as two of them often do, one measures the scheduler.
 */
import { readFileSync } from 'node:fs';

export interface Placement {
  /** Words before a command. */
  readonly sender: readonly string[];
  readonly answerer: readonly string[];
}

/** The first CPU sends, the others answer; where there is one, nobody is bound. @param list as `0-3,7` of /proc/self/status */
export function placementOf(list: string): Placement {
  const cpus = list.split(',').flatMap(part => {
    const [first, last = first] = part.split('-').map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, n) => first! + n);
  });
  const [sender, ...others] = cpus;
  if (others.length === 0) return { sender: [], answerer: [] };
  return { sender: ['taskset', '-c', `${sender}`], answerer: ['taskset', '-c', others.join(',')] };
}

export const PLACEMENT = placementOf(
  /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!,
);
