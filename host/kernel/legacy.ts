/** Rules of iptables-legacy, listed only where the kernel has such tables: to list them would make them. */
import { readFileSync } from 'node:fs';
import type { Run } from '../programs/command.js';
import { excerpt } from '../programs/excerpt.js';
import type { Family } from '../types/config.js';
import { EnvironmentError, KernelError } from '../types/errors.js';

export interface SavedTables {
  readonly family: Family;
  /** `iptables-legacy` */
  readonly program: string;
  readonly saved: string;
}

/** Tables that stand and cannot be listed. */
export interface UnknownTables {
  readonly program: string;
  readonly tables: readonly string[];
  readonly reason: string;
}

const PROGRAMS = {
  4: ['iptables-legacy', 'ip_tables_names'],
  6: ['ip6tables-legacy', 'ip6_tables_names'],
} as const;
/** Characters of a listing that is cut off in a message. */
const LAST = 100;

/** What iptables-legacy-save prints; null: no such table stands. @throws KernelError */
export async function listLegacy(run: Run, family: Family): Promise<SavedTables | UnknownTables | null> {
  const [program, file] = PROGRAMS[family];
  const tables = legacyTables(`/proc/self/net/${file}`);
  if (tables.length === 0) return null;
  try {
    const { stdout: saved } = await run(`${program}-save`, []);
    checkSaved(saved, program);
    return { family, program, saved };
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    return { program, tables, reason: error.message };
  }
}

/** @throws KernelError if a table is not listed to its end */
export function checkSaved(saved: string, program: string): void {
  const begun = saved.match(/^\*/gm)?.length ?? 0;
  const ended = saved.match(/^COMMIT$/gm)?.length ?? 0;
  if (begun === ended && begun > 0) return;
  throw new KernelError(`${program}-save: not a whole listing: ${excerpt(saved.slice(-LAST))}`);
}

/** None where the kernel has no such tables. */
function legacyTables(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
