/** Neighbour entries of targets: whether one can send to them, and what brings them back. */

import type { Run } from '../programs/command.js';
import { addressNumber } from '../types/address.js';
import type { Family, Host } from '../types/config.js';
import { runBatch } from './batch.js';
import { listAll, NEIGHBOURS } from './listing.js';
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

/**
 * Flush the entries of `hosts`, which may have new MAC addresses, in few processes: each flush makes the kernel list all
 * its entries, so only addresses that `listed` shows are flushed.
 * @returns one line for each that could not be flushed
 */
export async function flushNeighbours(
  run: Run,
  hosts: readonly Host[],
  listed: Neighbours,
): Promise<string[]> {
  const known = new Set([...listed.keys()].map(key => key.split(' ')[0]));
  const present = hosts.filter(({ address }) => known.has(String(addressNumber(address))));
  return refusals(run, present, ({ address }) => `neigh flush to ${address}`);
}

/**
 * Have the kernel ask for `hops` (NTF_USE): nothing else would send to one that failed.
 * @returns one line for each that the kernel refused
 */
export function askForNeighbours(run: Run, hops: readonly NextHop[]): Promise<string[]> {
  return refusals(run, hops, ({ address, device }) => `neigh replace ${address} dev ${device} use`);
}

async function refusals<Of extends Host>(
  run: Run,
  hosts: readonly Of[],
  line: (host: Of) => string,
): Promise<string[]> {
  const families = [...new Set(hosts.map(host => host.family))];
  const answers = await Promise.all(
    families.map(async family => {
      const lines = hosts.filter(host => host.family === family).map(line);
      const failures = await runBatch(run, family, lines);
      return [...failures].map(([index, answer]) => `ip -${family} ${lines[index]}: ${answer}`);
    }),
  );
  return answers.flat();
}
