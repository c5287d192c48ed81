/** What this daemon made in the kernel. The kernel's listings carry no owner: a claim does. */
import type { Family } from '../types/config.js';
import { FORMER_QUEUE_MARK, QUEUE_MARK } from '../types/marks.js';
import { type Rule, ruleKey } from './rule.js';

export interface TableClaim {
  readonly family: Family;
  readonly table: number;
}

export interface MangleClaim {
  readonly family: Family;
  /** True if the mangle table was not there before us: it goes when we leave it empty. */
  readonly created: boolean;
  /** Marks that our rules queue. Versions before this key wrote none. */
  readonly marks?: readonly number[];
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

/** For people: `table inet meridio-nfqlb`, `12 ip rules`. */
export function claimWords({ tables, mangle, rules, routes }: Claims): string[] {
  return [
    ...tables.map(name => `table inet ${name}`),
    ...mangle.map(({ family }) => `rules in table mangle of IPv${family}`),
    ...(rules.length > 0 ? [`${rules.length} ip rules`] : []),
    ...(routes.length > 0 ? [`${routes.length} default routes`] : []),
  ];
}

/** All marks that rules of ours in the mangle tables may queue. */
export function claimedMarks(claims: readonly MangleClaim[]): number[] {
  return [...new Set([QUEUE_MARK, FORMER_QUEUE_MARK, ...claims.flatMap(({ marks = [] }) => marks)])];
}

/**
 * Both, each thing once; of two claims to a mangle table the first says who made it, and the marks of both count. `first`
 * itself if it holds all of both.
 */
export function unitedClaims(first: Claims, second: Partial<Claims>): Claims {
  const united = {
    tables: unitedBy(first.tables, second.tables, name => name),
    mangle: unitedMangle(first.mangle, second.mangle),
    rules: unitedBy(first.rules, second.rules, ruleKey),
    routes: unitedBy(first.routes, second.routes, tableKey),
  };
  const isFirst = (Object.keys(united) as (keyof Claims)[]).every(kind => united[kind] === first[kind]);
  return isFirst ? first : united;
}

function unitedMangle(
  first: readonly MangleClaim[],
  second: readonly MangleClaim[] = [],
): readonly MangleClaim[] {
  const united = unitedBy(first, second, claim => String(claim.family)).map(claim => {
    const known = claim.marks ?? [];
    const more = second
      .filter(({ family }) => family === claim.family)
      .flatMap(({ marks = [] }) => marks.filter(mark => !known.includes(mark)));
    return more.length === 0 ? claim : { ...claim, marks: [...known, ...more] };
  });
  return united.length === first.length && united.every((claim, index) => claim === first[index])
    ? first
    : united;
}

export function tableKey(claim: TableClaim): string {
  return `${claim.family} ${claim.table}`;
}

function unitedBy<Value>(
  first: readonly Value[],
  second: readonly Value[] = [],
  key: (value: Value) => string,
): readonly Value[] {
  const known = new Set(first.map(key));
  const added = second.filter(value => {
    const isNew = !known.has(key(value));
    known.add(key(value));
    return isNew;
  });
  return added.length === 0 ? first : [...first, ...added];
}
