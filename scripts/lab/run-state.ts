/**
 * What is known of each run, for whoever has to clean up after it: one file a run, written before anything is made.
 * The run's processes need no list: they carry its name in their environment, from the moment they exist.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/** The environment's is for tests, which must not clean up after others. */
export const STATE_DIRECTORY = process.env.MAGMARK_DEMO_DIRECTORY ?? '/run/magmark-demo';
/** Environment variable of every process of a run; its value is the run's name. */
export const MARK = 'MAGMARK_DEMO_RUN';

export interface RunState {
  /** For example `mm-3f9a1c`; the namespaces' names begin with it. */
  readonly id: string;
  readonly namespaces: readonly string[];
  /** Files of the run. */
  readonly directory: string;
  /** The process that made it, known again by its start time: pids are used again. */
  readonly owner: { readonly pid: number; readonly startTicks: string };
  /** Left running on purpose. */
  readonly kept: boolean;
}

const stateFile = (id: string): string => join(STATE_DIRECTORY, `${id}.json`);

/** Never half-written: whoever reads it finds the former state or this one. */
export function saveState(state: RunState): void {
  const draft = join(STATE_DIRECTORY, `.${state.id}.${process.pid}`);
  for (let written = false; !written; ) {
    mkdirSync(STATE_DIRECTORY, { recursive: true, mode: 0o755 });
    try {
      writeFileSync(draft, `${JSON.stringify(state, null, 2)}\n`);
      written = true;
    } catch (error) {
      // The last of the other runs removed the directory in between.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  renameSync(draft, stateFile(state.id));
}

/** Remove the file, and the directory with the last one. */
export function removeState(id: string): void {
  rmSync(stateFile(id), { force: true });
  try {
    rmdirSync(STATE_DIRECTORY);
  } catch (error) {
    // Other runs are in it, or another run removed it at the same moment.
    if (!['ENOTEMPTY', 'ENOENT'].includes((error as NodeJS.ErrnoException).code!)) throw error;
  }
}

export function listStates(): RunState[] {
  if (!existsSync(STATE_DIRECTORY)) return [];
  return readdirSync(STATE_DIRECTORY)
    .filter(name => name.endsWith('.json'))
    .map(name => JSON.parse(readFileSync(join(STATE_DIRECTORY, name), 'utf8')) as RunState);
}

/** Field 22 of /proc/PID/stat, start of the process in clock ticks since boot; null: there is no such process. */
export function startTicks(pid: number): string | null {
  const stat = readOfProcess(pid, 'stat');
  // The second field is the program's name in parentheses, in which anything may stand.
  return stat === null ? null : (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null);
}

export function ownerLives(state: RunState): boolean {
  return startTicks(state.owner.pid) === state.owner.startTicks;
}

/** Pids of the processes that belong to a run. */
export function processesOf(id: string): number[] {
  const mark = `${MARK}=${id}`;
  return readdirSync('/proc')
    .filter(name => /^[0-9]+$/.test(name))
    .map(Number)
    .filter(pid => pid !== process.pid && readOfProcess(pid, 'environ')?.split('\0').includes(mark));
}

/** null: the process ended meanwhile, or is none that we may look into: not one of ours. */
function readOfProcess(pid: number, name: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(code!)) return null;
    throw error;
  }
}
