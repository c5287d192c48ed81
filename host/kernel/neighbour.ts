/** Neighbour entries of targets: whether one can send to them, and what brings them back. */

import type { Run } from '../programs/command.js';
import { addressNumber } from '../types/address.js';
import type { Family, Host } from '../types/config.js';
import { runBatch } from './batch.js';
import { listAll, NEIGHBOURS } from './listing.js';
import { together } from './together.js';
import type { NextHop } from './wanted.js';

/**
 * - `valid`: the kernel sends to it, perhaps after asking again;
 * - `resolving`: it has been asked for, and packets wait;
 * - `failed`: nobody answered. It stays so until somebody sends to it.
 */
export type NeighbourState = 'valid' | 'resolving' | 'failed';

/** Entries of one or both families, by `neighbourKey`. */
export type Neighbours = ReadonlyMap<string, NeighbourState>;

/** One entry of `ip -N -j neigh`. */
interface NeighbourEntry {
  readonly dst: string;
  readonly dev: string;
  readonly state?: readonly string[];
}

/** Equal for equal neighbours, however their addresses are spelled. */
export function neighbourKey({ address, device }: { address: string; device: string }): string {
  return `${addressNumber(address)} ${device}`;
}

/** @param families that the kernel has */
export async function listNeighbours(run: Run, families: readonly Family[]): Promise<Neighbours> {
  const listings = await Promise.all(families.map(family => listAll(run, family, [NEIGHBOURS])));
  return parseNeighbours(listings.flat(2) as NeighbourEntry[]);
}

export function parseNeighbours(entries: readonly NeighbourEntry[]): Neighbours {
  return new Map(
    entries.map(
      ({ dst, dev, state }) => [neighbourKey({ address: dst, device: dev }), stateOf(state)] as const,
    ),
  );
}

/** NUD_* of linux/neighbour.h; an entry without a state was made and never asked for. */
function stateOf(states: readonly string[] = []): NeighbourState {
  if (states.includes('FAILED')) {
    return 'failed';
  }
  return states.includes('INCOMPLETE') || states.includes('NONE') || states.length === 0
    ? 'resolving'
    : 'valid';
}

/** Those of `hosts` that the kernel knows: each flush makes it list all its entries, so no others are flushed. */
export function knownHosts<Of extends Host>(hosts: readonly Of[], listed: Neighbours): Of[] {
  const known = new Set([...listed.keys()].map(key => key.split(' ')[0]));
  return hosts.filter(({ address }) => known.has(String(addressNumber(address))));
}

/** A line that makes the kernel forget a neighbour, which may have a new link-layer address. */
export const forgetText = ({ address }: Host): string => `neigh flush to ${address}`;

/** A line that makes it ask for one (NTF_USE): nothing else would send to one that failed. */
export const askText = ({ address, device }: NextHop): string => `neigh replace ${address} dev ${device} use`;

/** States in which the kernel asks, or would ask by itself. The word of an administrator (PERMANENT, NOARP) is none of them. */
const VERIFIABLE = ['REACHABLE', 'STALE', 'DELAY'];

/**
 * Have the kernel ask `hops` now whether they are there (NUD_PROBE): three unicast questions, a second apart, then the
 * entry has failed. Packets go to them meanwhile. An entry that is being made, or has failed, is left as it is.
 * @returns one line for each that the kernel refused: its entry changed since it was listed
 */
export async function verifyNeighbours(
  run: Run,
  families: readonly Family[],
  hops: readonly NextHop[],
): Promise<string[]> {
  const listings = await Promise.all(families.map(family => listAll(run, family, [NEIGHBOURS])));
  const entries = listings.flat(2) as NeighbourEntry[];
  const verifiable = new Set(
    entries
      .filter(({ state = [] }) => state.some(word => VERIFIABLE.includes(word)))
      .map(({ dst, dev }) => neighbourKey({ address: dst, device: dev })),
  );
  const own = hops.filter(hop => verifiable.has(neighbourKey(hop)));
  return refusals(run, own, ({ address, device }) => `neigh change ${address} dev ${device} nud probe`);
}

/** Forget those of `hosts` that `listed` shows, in few processes. @returns one line for each that could not be flushed */
export async function flushNeighbours(
  run: Run,
  hosts: readonly Host[],
  listed: Neighbours,
): Promise<string[]> {
  return refusals(run, knownHosts(hosts, listed), forgetText);
}

/** Have the kernel ask for `hops`. @returns one line for each that the kernel refused */
export function askForNeighbours(run: Run, hops: readonly NextHop[]): Promise<string[]> {
  return refusals(run, hops, askText);
}

async function refusals<Of extends Host>(
  run: Run,
  hosts: readonly Of[],
  line: (host: Of) => string,
): Promise<string[]> {
  const families = [...new Set(hosts.map(host => host.family))];
  const answers = await together(
    families.map(async family => {
      const lines = hosts.filter(host => host.family === family).map(line);
      const failures = await runBatch(run, family, lines);
      return [...failures].map(([index, answer]) => `ip -${family} ${lines[index]}: ${answer}`);
    }),
  );
  return answers.flat();
}
