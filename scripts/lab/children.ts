/** The children of a process, as the kernel lists them. */
import { readdirSync, readFileSync } from 'node:fs';

export interface ChildProcessState {
  readonly pid: number;
  /** One letter; Z: it has ended, and its parent has not waited for it. */
  readonly state: string;
}

export function childrenOf(parent: number): ChildProcessState[] {
  return readdirSync('/proc')
    .filter(name => /^[0-9]+$/.test(name))
    .flatMap(name => {
      const [state, of] = statOf(name) ?? [];
      return state !== undefined && of === String(parent) ? [{ pid: Number(name), state }] : [];
    });
}

/** Fields of /proc/PID/stat from the third on: state, parent; null: it has gone. */
function statOf(pid: string): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses, in which anything may stand.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code!)) return null;
    throw error;
  }
}
