/** Neighbour entries of targets: whether one can send to them, and what brings them back. */

import { listJson, type Run } from '../programs/command.js';
import { addressNumber } from '../types/address.js';
import type { Family, Host } from '../types/config.js';
import { runBatch } from './batch.js';
import { JSON_OPTIONS, listAll, NEIGHBOURS } from './listing.js';
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

/** States in which the kernel sends to an address that it may verify; others are an administrator's word, or ask by themselves. */
const VERIFIABLE = ['REACHABLE', 'STALE', 'DELAY'];

/**
 * Have the kernel ask neighbours by unicast whether they still have their link-layer addresses (NUD_PROBE). It goes on sending
 * to them; one that does not answer within 3 s it gives up. Those that are permanent, or were learned by another program, are left.
 * @param before  neighbours that were asked a while ago
 * @returns those of `before` that have not answered
 * @throws KernelError
 */
export async function probeNeighbours(
  run: Run,
  hops: readonly NextHop[],
  before: readonly NextHop[],
): Promise<NextHop[]> {
  const listed = new Map(
    ((await listJson(run, [...JSON_OPTIONS, NEIGHBOURS])) as NeighbourEntry[]).map(entry => [
      neighbourKey({ address: entry.dst, device: entry.dev }),
      entry,
    ]),
  );
  const entryOf = (hop: NextHop) => listed.get(neighbourKey(hop));
  const probed = hops.flatMap(hop => {
    const entry = entryOf(hop);
    if (entry === undefined || 'extern_learn' in entry || 'managed' in entry) return [];
    if (!entry.state?.some(state => VERIFIABLE.includes(state))) return [];
    return [{ ...hop, line: probeText(hop, entry) }];
  });
  // A line fails if its entry has gone, or lost its address, since it was listed.
  await refusals(run, probed, ({ line }) => line);
  return before.filter(hop => entryOf(hop)?.state?.includes('PROBE'));
}

/** Without the flag a router would be one no more. */
function probeText({ address, device }: NextHop, entry: NeighbourEntry): string {
  return `neigh change ${address} dev ${device} nud probe${'router' in entry ? ' router' : ''}`;
}
