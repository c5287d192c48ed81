/** Removing what earlier runs left. A run that somebody uses stays. */
import { removeRun } from './removal.js';
import { lifeOf, listStates, type RunState, thisSession, visitorsOf } from './run-state.js';

/** Why a run stays; null: it is not in use. */
function useOf(state: RunState): string | null {
  const { owner, keptFor } = state;
  if (lifeOf(owner) === 'lives') return `still runs (pid ${owner.pid})`;
  const visitors = visitorsOf(state);
  if (visitors.length > 0) return `is in use by pid ${visitors.join(', ')}`;
  if (keptFor === null)
    return lifeOf(owner) === 'unknown' ? 'was made in another pid namespace and may still run' : null;
  const keeper = lifeOf(keptFor);
  if (keeper === 'ended' || isThisSession(state)) return null;
  return keeper === 'lives'
    ? `was kept by another session (pid ${keptFor.pid}), which has not ended`
    : 'was kept in another pid namespace';
}

function isThisSession({ keptFor }: RunState): boolean {
  const here = thisSession();
  return keptFor?.pid === here.pid && keptFor.startTicks === here.startTicks;
}

/**
 * Remove what was killed, and what was kept and is not in use.
 * @param ids  remove these instead, in use or not; a run whose owner lives stays in any case
 * @returns exit code; 1: one of `ids` was not removed
 */
export async function clean(ids: readonly string[], say: (text: string) => void): Promise<number> {
  const states = listStates();
  const missing = ids.filter(id => !states.some(state => state.id === id));
  for (const id of missing) say(`there is no run ${id}`);
  let stayed = 0;
  for (const state of states) {
    if (ids.length > 0 && !ids.includes(state.id)) continue;
    const use = ids.length > 0 && lifeOf(state.owner) !== 'lives' ? null : useOf(state);
    if (use === null) {
      await removeRun(state);
      say(`${state.id} was removed`);
    } else {
      stayed++;
      const hint = lifeOf(state.owner) === 'lives' ? '' : `; to remove it: scripts/demo --clean ${state.id}`;
      say(`${state.id} ${use} and stays${hint}`);
    }
  }
  if (states.length === 0) say('there is nothing to remove');
  return ids.length > 0 && missing.length + stayed > 0 ? 1 : 0;
}

/** Name what is left; nothing is removed without being asked for. */
export function noticeLeftovers(say: (text: string) => void): void {
  const left = listStates().filter(state => lifeOf(state.owner) !== 'lives');
  if (left.length > 0)
    say(`earlier runs left ${left.map(state => state.id).join(', ')}; to remove: scripts/demo --clean`);
}
