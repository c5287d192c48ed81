/** Interfaces that the configuration names and this network namespace lacks. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { onFile } from '../programs/file.js';
import { withinPattern } from './pattern.js';
import type { WantedKernel } from './wanted.js';

/** Entries of net/ipv4/conf that stand for no interface. */
const GENERAL = new Set(['all', 'default']);

/**
 * Of the network namespace of this process, whichever `sysfs` is mounted. An interface whose MTU is below 68 has no entry:
 * it carries no IPv4.
 * @throws EnvironmentError
 */
export async function listInterfaces(procSys = '/proc/sys'): Promise<Set<string>> {
  const folder = join(procSys, 'net/ipv4/conf');
  const names = await onFile('list', folder, () => readdir(folder));
  return new Set(names.filter(name => !GENERAL.has(name)));
}

/** @returns one line for each name, or pattern, that no interface of `present` has */
export function missingInterfaces(
  { external, internal }: WantedKernel['interfaces'],
  present: ReadonlySet<string>,
): string[] {
  const missing = external !== null && !present.has(external) ? [missingExternal(external)] : [];
  return [
    ...missing,
    ...internal
      .filter(pattern => ![...present].some(name => withinPattern(name, pattern)))
      .map(pattern => `interfaces.internal: ${noMatch(pattern)}`),
  ];
}

export const missingExternal = (name: string): string => `interfaces.external: ${noInterface(name)}`;
export const noInterface = (name: string): string => `interface ${name} does not exist`;

function noMatch(pattern: string): string {
  return pattern.endsWith('*') ? `no interface matches ${pattern}` : noInterface(pattern);
}
