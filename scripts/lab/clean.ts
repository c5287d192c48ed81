/** Removing what earlier runs left. */
import { removeRun } from './removal.js';
import { listStates, ownerLives, type RunState } from './run-state.js';

/** Kept on purpose, or its owner was killed: nobody works with it. */
const isLeft = (state: RunState): boolean => state.kept || !ownerLives(state);

/** Remove what was kept or left behind; runs that still go on stay. @returns exit code */
export async function clean(say: (text: string) => void): Promise<number> {
  const states = listStates();
  if (states.length === 0) say('there is nothing to remove');
  for (const state of states) {
    if (isLeft(state)) {
      await removeRun(state);
      say(`${state.id} was removed`);
    } else {
      say(`${state.id} still runs (pid ${state.owner.pid}) and stays`);
    }
  }
  return 0;
}

/** Tell of what is left; nothing is removed without being asked. */
export function noticeLeftovers(say: (text: string) => void): void {
  const left = listStates().filter(isLeft);
  if (left.length > 0)
    say(`earlier runs left ${left.map(state => state.id).join(', ')}; to remove: scripts/demo --clean`);
}
