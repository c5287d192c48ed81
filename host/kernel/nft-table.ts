/** A table in the form in which `nft -j` lists it (libnftables-json(5)), and the commands that make it or mend it. */

import type { Statement } from './carrier.js';

/** One address or number, or more of them. */
export type Element =
  | string
  | number
  | { readonly prefix: { readonly addr: string; readonly len: number } }
  | { readonly range: readonly [first: number, last: number] };

export interface NftSet {
  readonly name: string;
  readonly type: 'ipv4_addr' | 'ipv6_addr' | 'mark';
  readonly elements: readonly Element[];
}

export interface NftHook {
  /** `route`: what its rules change is routed once more. */
  readonly type: 'filter' | 'route';
  readonly at: 'prerouting' | 'forward' | 'output' | 'postrouting';
  readonly priority: number;
}

export interface NftChain {
  readonly name: string;
  /** null: other chains jump to it. */
  readonly hook: NftHook | null;
  readonly rules: readonly NftRule[];
}

/**
 * A rule's statements. Where nft lists them otherwise than they were given, a comment that no other statements have stands
 * for them: a listed rule with it is equal, for a rule cannot be changed and keep its comment.
 */
export type NftRule =
  | readonly Statement[]
  | { readonly comment: string; readonly statements: readonly Statement[] };

export interface NftContents {
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

/** A table of family inet. */
export interface NftTable extends NftContents {
  readonly name: string;
  /** Names of its counter objects; default: none. */
  readonly counters?: readonly string[];
}

/** How a listed table differs from the wanted one whose name it has. */
export interface NftDifference {
  /** Wanted and not there. */
  readonly missing: NftContents;
  /** There, with other rules or elements. */
  readonly changed: NftContents;
  /** There and not wanted. */
  readonly surplus: { readonly chains: readonly SurplusChain[]; readonly sets: readonly string[] };
}

export interface SurplusChain {
  readonly name: string;
  /** Without effect: a base chain with policy accept and no rule. */
  readonly empty: boolean;
  /** Could be without effect: a base chain with policy accept. */
  readonly harmless: boolean;
}

export type Command = Readonly<Record<string, unknown>>;

/** The table, its counters, its sets and its chains as the objects of a listing, without elements and rules. */
export function frameObjects(table: NftTable): Command[] {
  const place = { family: 'inet', table: table.name };
  return [
    { table: { family: 'inet', name: table.name } },
    ...(table.counters ?? []).map(name => ({ counter: { ...place, name } })),
    ...table.sets.map(({ name, type }) => ({ set: { ...place, name, type, flags: ['interval'] } })),
    ...table.chains.map(({ name, hook }) => ({ chain: { ...place, name, ...hookFields(hook) } })),
  ];
}

function hookFields(hook: NftHook | null): object {
  return hook === null ? {} : { type: hook.type, hook: hook.at, prio: hook.priority, policy: 'accept' };
}

/** The rules of all chains as the objects of a listing. */
export function ruleObjects({ name: table, chains }: NftTable): Command[] {
  return chains.flatMap(chain =>
    chain.rules.map(rule => {
      const { statements, ...comment } = 'statements' in rule ? rule : { statements: rule };
      return { rule: { family: 'inet', table, chain: chain.name, ...comment, expr: statements } };
    }),
  );
}

/**
 * Puts `table` in the place of whatever has its name. Only for a table that is missing or cannot be mended: with a base
 * chain's hook the kernel drops every packet of the namespace that is queued.
 */
export function replaceCommands(table: NftTable): Command[] {
  return [
    // So that the deletion finds something.
    { add: { table: { family: 'inet', name: table.name } } },
    ...deleteCommands([table.name]),
    ...[...frameObjects(table), ...ruleObjects(table)].map(object => ({ add: object })),
    ...elementCommands(table),
  ];
}

/**
 * Mends the listed `table`: what does not differ stays, and so do its counters.
 * @param keepHooks  empty surplus chains where that takes away all their effect, and do not delete them: the kernel drops
 *                   every packet of the namespace that is queued when a hook goes; one that comes drops none
 */
export function mendCommands(table: string, difference: NftDifference, keepHooks: boolean): Command[] {
  const place = { family: 'inet', table };
  const { missing, changed, surplus } = difference;
  const filled = {
    name: table,
    chains: [...changed.chains, ...missing.chains],
    sets: [...changed.sets, ...missing.sets],
  };
  const flush = (kind: 'chain' | 'set', name: string): Command => ({ flush: { [kind]: { ...place, name } } });
  const [, ...made] = frameObjects({ ...missing, name: table });
  return [
    // All of them before one chain is deleted: chains may lead into each other.
    ...surplus.chains.filter(({ empty }) => !empty).map(({ name }) => flush('chain', name)),
    ...changed.chains.map(({ name }) => flush('chain', name)),
    ...changed.sets.map(({ name }) => flush('set', name)),
    ...surplus.chains
      .filter(({ harmless }) => !(keepHooks && harmless))
      .map(({ name }) => ({ delete: { chain: { ...place, name } } })),
    ...surplus.sets.map(name => ({ delete: { set: { ...place, name } } })),
    ...made.map(object => ({ add: object })),
    ...ruleObjects(filled).map(object => ({ add: object })),
    ...elementCommands(filled),
  ];
}

export function deleteCommands(tables: readonly string[]): Command[] {
  return tables.map(name => ({ delete: { table: { family: 'inet', name } } }));
}

function elementCommands(table: NftTable): Command[] {
  return table.sets
    .filter(set => set.elements.length > 0)
    .map(set => ({
      add: { element: { family: 'inet', table: table.name, name: set.name, elem: set.elements } },
    }));
}
