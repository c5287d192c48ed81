/** Our rules in the xtables mangle tables: recognised by the reserved mark, changed in one transaction a family. */

import type { Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { RESERVED_MARK } from '../types/marks.js';
import type { MangleRule } from './carrier.js';

const PROGRAMS: Readonly<Record<Family, string>> = { 4: 'iptables-nft', 6: 'ip6tables-nft' };
const OURS = new RegExp(
  `^-A (PREROUTING|OUTPUT) (-m mark --mark 0x${RESERVED_MARK.toString(16)} -j NFQUEUE .*)$`,
);

/** The rules of ours in what iptables-nft-save printed, doubles included. */
export function parseMangleRules(saved: string): MangleRule[] {
  return saved.split('\n').flatMap(line => {
    const match = OURS.exec(line);
    return match === null ? [] : [{ chain: match[1] as MangleRule['chain'], text: match[2]! }];
  });
}

/**
 * Input of iptables-nft-restore that leaves exactly `wanted`; null if that is what stands. New rules come in at the top
 * before the old ones go, and both happen at once.
 */
export function renderMangle(listed: readonly MangleRule[], wanted: readonly MangleRule[]): string | null {
  const surplus = [...listed];
  const missing = wanted.filter(rule => {
    const index = surplus.findIndex(other => other.chain === rule.chain && other.text === rule.text);
    if (index >= 0) {
      surplus.splice(index, 1);
    }
    return index < 0;
  });
  if (missing.length === 0 && surplus.length === 0) {
    return null;
  }
  const lines = [
    ...missing.map(rule => `-I ${rule.chain} ${rule.text}`),
    ...surplus.map(rule => `-D ${rule.chain} ${rule.text}`),
  ];
  return `${['*mangle', ...lines, 'COMMIT'].join('\n')}\n`;
}

/** The rules of ours in one family's mangle table. */
export async function listMangle(run: Run, family: Family): Promise<MangleRule[]> {
  return parseMangleRules((await run(`${PROGRAMS[family]}-save`, ['-t', 'mangle'])).stdout);
}

/** Make `wanted` the rules of ours in one family's mangle table. @returns whether `listed` differed */
export async function applyMangle(
  run: Run,
  family: Family,
  wanted: readonly MangleRule[],
  listed: readonly MangleRule[],
): Promise<boolean> {
  const input = renderMangle(listed, wanted);
  if (input !== null) {
    await run(`${PROGRAMS[family]}-restore`, ['--noflush'], { input });
  }
  return input !== null;
}
