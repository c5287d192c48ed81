/**
 * What `nfqlb flowlb` was told: streams (nfqlb's shared memories) and flows. Each change is a function from one whole
 * state to the next; a change that changes nothing returns what it got. Pure.
 */
import type { Activation, AskedFlow } from '../config/change.js';
import { RequestError } from '../control/server.js';
import type { Flow } from '../types/config.js';

export interface SharedMemory {
  readonly name: string;
  /** Of the tier of load balancers, nfqlb's `--ownfw`; listed, never used. */
  readonly own: number;
  /** Asked size of the table. */
  readonly tableSize: number;
  readonly maxTargets: number;
  /** Mark by index. */
  readonly marks: ReadonlyMap<number, number>;
  /**
   * It was deleted, and flows go on deciding by it until they are deleted too, as where the memory stays mapped behind
   * its name. To everything but them it is gone; an `init` of its name takes its place.
   */
  readonly unlinked: boolean;
}

export interface State {
  readonly memories: readonly SharedMemory[];
  /** In the order in which they are tried. */
  readonly flows: readonly Flow[];
  /** Flows with UDP encapsulation whose priority was lowered last: nfqlb lists their hidden flow after them. */
  readonly lowered: ReadonlySet<string>;
}

export const EMPTY_STATE: State = { memories: [], flows: [], lowered: new Set() };

/** The memory that has this name. @throws RequestError */
export function memoryOf(state: State, name: string): SharedMemory {
  const found = state.memories.find(each => each.name === name && !each.unlinked);
  if (found !== undefined) return found;
  const names = state.memories.filter(each => !each.unlinked).map(each => each.name);
  const known = names.length === 0 ? 'there is none' : `there are: ${names.join(', ')}`;
  throw new RequestError(404, `there is no shm ${name} (nfqlb init --shm=${name} makes it); ${known}`);
}

/** A memory that is there already is made anew, with no target; flows stay with the name. */
export function init(
  state: State,
  asked: Pick<SharedMemory, 'name' | 'own' | 'tableSize' | 'maxTargets'>,
): State {
  const made = { ...asked, marks: new Map<number, number>(), unlinked: false };
  return withMemory(state, made);
}

/** What is not there need not be deleted. */
export function remove(state: State, name: string): State {
  const found = state.memories.find(each => each.name === name && !each.unlinked);
  return found === undefined ? state : withoutUnused(withMemory(state, { ...found, unlinked: true }));
}

/**
 * With an index: its mark is that one from now on. Without: each mark that is not active takes the lowest free index.
 * @returns marks that found no free index as `left`
 * @throws RequestError
 */
export function activate(
  state: State,
  { name, index, fwmarks }: Activation,
): { readonly state: State; readonly left: readonly number[] } {
  const memory = memoryOf(state, name);
  const marks = new Map(memory.marks);
  const left: number[] = [];
  if (index !== undefined) {
    refuseBeyond(memory, index);
    const [mark] = fwmarks;
    if (mark === undefined) throw new RequestError(400, `activate --index=${index} needs a mark`);
    marks.set(index, mark);
  } else {
    const active = new Set(marks.values());
    let free = 0;
    for (const mark of fwmarks) {
      if (active.has(mark)) continue;
      while (marks.has(free)) free++;
      if (free >= memory.maxTargets) {
        left.push(mark);
        continue;
      }
      marks.set(free, mark);
      active.add(mark);
    }
  }
  return { state: withMarks(state, memory, marks), left };
}

/** By index, or the lowest index of each mark. What is not active need not be deactivated. @throws RequestError */
export function deactivate(state: State, { name, index, fwmarks }: Activation): State {
  const memory = memoryOf(state, name);
  const marks = new Map([...memory.marks].toSorted(([one], [other]) => one - other));
  if (index !== undefined) {
    refuseBeyond(memory, index);
    marks.delete(index);
  } else {
    for (const mark of fwmarks) {
      const found = [...marks].find(([, each]) => each === mark);
      if (found !== undefined) marks.delete(found[0]);
    }
  }
  return withMarks(state, memory, marks);
}

/**
 * Add a flow, or define it anew in its place. By priority, larger first; among equal ones those that stood before stay
 * before.
 * @throws RequestError if its target is no shm
 */
export function setFlow(state: State, { target, flow }: AskedFlow): State {
  if (target === null) throw new RequestError(400, `flow ${flow.name} has no target`);
  // A flow may still be given to a memory that lives by its flows alone.
  if (!state.memories.some(each => each.name === target)) memoryOf(state, target);
  const known = state.flows.find(each => each.name === flow.name);
  const flows =
    known === undefined
      ? [...state.flows, flow]
      : state.flows.map(each => (each.name === flow.name ? flow : each));
  return withoutUnused({
    ...state,
    flows: flows.toSorted((one, other) => other.priority - one.priority),
    lowered: loweredAfter(state, known, flow),
  });
}

/** nfqlb moves the hidden flow first, and then the flow, each no further than it must: down, the flow ends before it. */
function loweredAfter({ lowered }: State, known: Flow | undefined, flow: Flow): ReadonlySet<string> {
  const hadHidden = known !== undefined && known.udpEncapPort !== null && flow.udpEncapPort !== null;
  if (hadHidden && flow.priority === known.priority) return lowered;
  const after = new Set(lowered);
  if (hadHidden && flow.priority < known.priority) after.add(flow.name);
  else after.delete(flow.name);
  return after;
}

/** `listed`, which has each hidden flow before its own, in nfqlb's order. */
export function asNfqlbLists<Listed extends { readonly name: string }>(
  { lowered }: State,
  listed: readonly Listed[],
): Listed[] {
  const sorted = [...listed];
  for (let n = 0; n + 1 < sorted.length; n++) {
    const [hidden, own] = [sorted[n]!, sorted[n + 1]!];
    if (hidden.name === `#${own.name}` && lowered.has(own.name)) sorted.splice(n++, 2, own, hidden);
  }
  return sorted;
}

/** What is not there need not be deleted. */
export function deleteFlow(state: State, name: string): State {
  const flows = state.flows.filter(each => each.name !== name);
  if (flows.length === state.flows.length) return state;
  const lowered = new Set([...state.lowered].filter(each => each !== name));
  return withoutUnused({ ...state, flows, lowered });
}

function refuseBeyond({ name, maxTargets }: SharedMemory, index: number): void {
  if (index >= maxTargets)
    throw new RequestError(
      400,
      `index ${index} is beyond the ${maxTargets} of ${name}: 0 to ${maxTargets - 1}`,
    );
}

function withMarks(state: State, memory: SharedMemory, marks: ReadonlyMap<number, number>): State {
  const same =
    marks.size === memory.marks.size && [...marks].every(([index, mark]) => memory.marks.get(index) === mark);
  return same ? state : withMemory(state, { ...memory, marks });
}

function withMemory(state: State, memory: SharedMemory): State {
  const known = state.memories.some(each => each.name === memory.name);
  const memories = known
    ? state.memories.map(each => (each.name === memory.name ? memory : each))
    : [...state.memories, memory];
  return { ...state, memories };
}

/** Deleted memories go with the last flow that has them. */
function withoutUnused(state: State): State {
  const used = new Set(state.flows.map(flow => flow.stream));
  return { ...state, memories: state.memories.filter(each => !each.unlinked || used.has(each.name)) };
}
