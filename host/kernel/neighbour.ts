/** Neighbour entries of targets: an address that is used again may have another MAC address. */

import { listJson, type Run } from '../programs/command.js';
import { addressNumber } from '../types/address.js';
import type { Family, Host } from '../types/config.js';
import { runBatch } from './batch.js';

/**
 * Flush the entries of `hosts`, in few processes: each flush makes the kernel list all its entries, so only addresses
 * that one listing shows are flushed.
 * @returns one line for each that could not be flushed
 */
export async function flushNeighbours(run: Run, hosts: readonly Host[]): Promise<string[]> {
  const warnings: string[] = [];
  for (const family of new Set(hosts.map(host => host.family))) {
    const listed = await listAddresses(run, family);
    const lines = hosts
      .filter(host => host.family === family && listed.has(addressNumber(host.address)))
      .map(({ address }) => `neigh flush to ${address}`);
    for (const [index, answer] of await runBatch(run, family, lines)) {
      warnings.push(`ip -${family} ${lines[index]}: ${answer}`);
    }
  }
  return warnings;
}

async function listAddresses(run: Run, family: Family): Promise<Set<bigint>> {
  const entries = (await listJson(run, ['-N', '-j', `-${family}`, 'neigh'])) as { dst: string }[];
  return new Set(entries.map(({ dst }) => addressNumber(dst)));
}
