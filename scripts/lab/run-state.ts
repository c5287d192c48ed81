/**
 * What is known of each run, for whoever has to clean up after it: one file a run, written before anything is made.
 * The run's processes need no list: they carry its name in their environment, from the moment they exist.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
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
  /** The process that made it. */
  readonly owner: ProcessIdentity;
  /** The run was left running on purpose, for the people of this session (a login, a terminal); null: it was not kept. */
  readonly keptFor: ProcessIdentity | null;
}

/** A process, known again by its start time: pids are used again. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: string;
  /** A pid means something within its pid namespace alone, as `/proc/PID/ns/pid` names it. */
  readonly pidNamespace: string;
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
function startTicks(pid: number): string | null {
  return statOf(pid)?.[19] ?? null;
}

/** The fields of /proc/PID/stat from the third on; null: there is no such process. */
function statOf(pid: number): string[] | null {
  const stat = readOfProcess(pid, 'stat');
  // The second field is the program's name in parentheses, which may hold any character.
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

const pidNamespace = (): string => readlinkSync('/proc/self/ns/pid');

/** This process. */
export function thisProcess(): ProcessIdentity {
  return { pid: process.pid, startTicks: startTicks(process.pid)!, pidNamespace: pidNamespace() };
}

/** The leader of this process's session; this process itself where that has ended or is outside of the pid namespace. */
export function thisSession(): ProcessIdentity {
  // Field 6 of /proc/PID/stat.
  const leader = Number(statOf(process.pid)![3]);
  const ticks = leader === 0 ? null : startTicks(leader);
  return ticks === null ? thisProcess() : { pid: leader, startTicks: ticks, pidNamespace: pidNamespace() };
}

/** `unknown`: it is of another pid namespace, as a container has one. */
export function lifeOf(identity: ProcessIdentity): 'lives' | 'ended' | 'unknown' {
  if (identity.pidNamespace !== pidNamespace()) return 'unknown';
  return startTicks(identity.pid) === identity.startTicks ? 'lives' : 'ended';
}

/** Processes in the namespaces of a run that are not its own: somebody's shell, or a capture. */
export function visitorsOf(state: RunState): number[] {
  const inodes = new Set(
    state.namespaces
      .map(name => join('/run/netns', name))
      .filter(existsSync)
      .map(path => statSync(path).ino),
  );
  const own = new Set(processesOf(state.id));
  return readdirSync('/proc')
    .filter(name => /^[0-9]+$/.test(name))
    .map(Number)
    .filter(pid => !own.has(pid) && pid !== process.pid)
    .filter(pid => inodes.has(networkOf(pid) ?? -1));
}

/** Inode of a process's network namespace; null: the process ended, or hides it from us. */
function networkOf(pid: number): number | null {
  try {
    return statSync(`/proc/${pid}/ns/net`).ino;
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
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
    if (isGone(error)) return null;
    throw error;
  }
}

const isGone = (error: unknown): boolean =>
  ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code!);
