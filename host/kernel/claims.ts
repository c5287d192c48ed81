/** What this daemon made in the kernel. The kernel's listings carry no owner: a claim does. */
import type { Family } from '../types/config.js';
import { type Rule, ruleKey } from './rule.js';

export interface TableClaim {
  readonly family: Family;
  readonly table: number;
}

export interface MangleClaim {
  readonly family: Family;
  /** True if the mangle table was not there before us: it goes when we leave it empty. */
  readonly created: boolean;
}

export interface Claims {
  /** Names of nftables tables, family inet. */
  readonly tables: readonly string[];
  /** Families whose mangle table holds our rules. */
  readonly mangle: readonly MangleClaim[];
  readonly rules: readonly Rule[];
  /** Routing tables whose default route is ours. */
  readonly routes: readonly TableClaim[];
}

export const NO_CLAIMS: Claims = { tables: [], mangle: [], rules: [], routes: [] };

export function claimsNothing(claims: Claims): boolean {
  return Object.values(claims).every(list => list.length === 0);
}

/** Both, each thing once; of two claims to a mangle table the first counts. */
export function unitedClaims(first: Claims, second: Partial<Claims>): Claims {
  return {
    tables: unique([...first.tables, ...(second.tables ?? [])], name => name),
    mangle: unique([...first.mangle, ...(second.mangle ?? [])], claim => String(claim.family)),
    rules: unique([...first.rules, ...(second.rules ?? [])], ruleKey),
    routes: unique([...first.routes, ...(second.routes ?? [])], tableKey),
  };
}

export function tableKey(claim: TableClaim): string {
  return `${claim.family} ${claim.table}`;
}

function unique<Value>(values: readonly Value[], key: (value: Value) => string): Value[] {
  const byKey = new Map<string, Value>();
  for (const value of values) {
    if (!byKey.has(key(value))) {
      byKey.set(key(value), value);
    }
  }
  return [...byKey.values()];
}
