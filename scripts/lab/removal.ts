/** Removing a run, whoever made it. */
import { existsSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RUN_DIRECTORY } from '../../host/control/socket.js';
import { STATE_DIRECTORY, statePath } from '../../host/daemon/kept-state.js';
import { endProcesses, Processes } from './processes.js';
import { type RunState, removeState } from './run-state.js';

const NAMESPACES = '/run/netns';
const REMOVAL_TRIES = 10;

/** Remove what a run made; its processes are ended first. */
export async function removeRun(state: RunState): Promise<void> {
  await endProcesses(state.id);
  // A name without a namespace behind it is what an interrupted `ip netns add` leaves; its inode belongs to /run.
  const inodes = standing(state).map(name => statSync(join(NAMESPACES, name)).ino);
  await removeNamespaces(state);
  for (const inode of inodes) removeDaemonFiles(inode);
  for (const name of state.namespaces) rmSync(statePath(name), { force: true });
  removeIfEmpty(STATE_DIRECTORY);
  rmSync(state.directory, { recursive: true, force: true });
  removeState(state.id);
}

/** A Ctrl-C that ends the removing command, as it ends every command of the terminal, is no reason to leave the rest. */
async function removeNamespaces(state: RunState): Promise<void> {
  for (let tries = 1; standing(state).length > 0; tries++) {
    const input = lines(standing(state).map(name => `netns delete ${name}`));
    const { stderr } = await new Processes('').command(['ip', '-force', '-batch', '-'], {
      input,
      mayFail: true,
    });
    if (tries === REMOVAL_TRIES && standing(state).length > 0) {
      throw new Error(`${standing(state).join(', ')} cannot be removed: ${stderr.trim()}`);
    }
  }
}

const standing = (state: RunState): string[] =>
  state.namespaces.filter(name => existsSync(join(NAMESPACES, name)));

/** Socket, journal and BIRD's files that a killed daemon left for its namespace, which is gone. */
function removeDaemonFiles(inode: number): void {
  if (!existsSync(RUN_DIRECTORY)) return;
  for (const name of readdirSync(RUN_DIRECTORY)) {
    if (name.startsWith(`net-${inode}.`)) rmSync(join(RUN_DIRECTORY, name), { force: true, recursive: true });
  }
}

/** Others may use it. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    if (!['ENOTEMPTY', 'ENOENT'].includes((error as NodeJS.ErrnoException).code!)) throw error;
  }
}

const lines = (commands: readonly string[]): string => commands.map(command => `${command}\n`).join('');
