/** The reference document's nftables tables, in the form in which `nft -j` lists them, and the commands that make them. */

import { ADDRESS_BITS, withoutCovered } from '../types/address.js';
import type { Family, Prefix } from '../types/config.js';
import type { Carrier, Statement } from './carrier.js';
import type { WantedKernel } from './wanted.js';

export const NFQLB_TABLE = 'meridio-nfqlb';
export const NAT_TABLE = 'meridio-nat';
export const DEFRAG_TABLE = 'meridio-defrag';
/** In the order in which the reference lists them, which is that of their making; one transaction makes them all. */
export const TABLES = [NFQLB_TABLE, NAT_TABLE, DEFRAG_TABLE] as const;

/** One address, or a prefix. */
export type Element = string | { readonly prefix: { readonly addr: string; readonly len: number } };

export interface NftSet {
  readonly name: string;
  readonly type: 'ipv4_addr' | 'ipv6_addr';
  readonly elements: readonly Element[];
}

export interface NftChain {
  readonly name: string;
  readonly hook: 'prerouting' | 'output';
  readonly priority: number;
  /** Each rule's statements. */
  readonly rules: readonly (readonly Statement[])[];
}

/** A table of family inet. */
export interface NftTable {
  readonly name: string;
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

export type Command = Readonly<Record<string, unknown>>;

const COUNTER: Statement = { counter: { packets: 0, bytes: 0 } };
const NOTRACK: Statement = { notrack: null };
const ACCEPT: Statement = { accept: null };

/** The tables of a configuration, in the order of TABLES. */
export function renderTables(wanted: WantedKernel, carrier: Carrier): NftTable[] {
  return [nfqlbTable(wanted, carrier), { name: NAT_TABLE, sets: [], chains: [] }, defragTable(wanted)];
}

function nfqlbTable(wanted: WantedKernel, carrier: Carrier): NftTable {
  const steer = carrier.steer(wanted.queues);
  const toVips = (family: Family): Statement[] => [
    equals({ payload: { protocol: family === 4 ? 'ip' : 'ip6', field: 'daddr' } }, `@ipv${family}-vips`),
    COUNTER,
    steer,
  ];
  const protocol = (name: string): Statement => equals({ meta: { key: 'l4proto' } }, name);
  const priority = carrier.chainPriority;
  return {
    name: NFQLB_TABLE,
    sets: [
      { name: 'ipv4-vips', type: 'ipv4_addr', elements: vipElements(wanted.vips, 4) },
      { name: 'ipv6-vips', type: 'ipv6_addr', elements: vipElements(wanted.vips, 6) },
    ],
    chains: [
      { name: 'nfqlb', hook: 'prerouting', priority, rules: [toVips(4), toVips(6)] },
      {
        name: 'nfqlb-local',
        hook: 'output',
        priority,
        rules: [
          [protocol('icmp'), ...toVips(4)],
          [protocol('ipv6-icmp'), ...toVips(6)],
        ],
      },
    ],
  };
}

function defragTable(wanted: WantedKernel): NftTable {
  return {
    name: DEFRAG_TABLE,
    sets: [],
    chains: [
      {
        name: 'pre-defrag',
        hook: 'prerouting',
        // Before the kernel's reassembly (-400): what targets send needs none.
        priority: -500,
        rules: wanted.interfaces.internal.map(name => [equals({ meta: { key: 'iifname' } }, name), NOTRACK]),
      },
      {
        name: 'in',
        hook: 'prerouting',
        priority: -300,
        // A rule about `ct state` is what switches reassembly on; without it every fragment would be queued.
        rules: [[NOTRACK], [matches('in', { ct: { key: 'state' } }, 'untracked'), ACCEPT]],
      },
      { name: 'out', hook: 'output', priority: -300, rules: [[NOTRACK]] },
    ],
  };
}

function matches(op: string, left: unknown, right: unknown): Statement {
  return { match: { op, left, right } };
}

function equals(left: unknown, right: unknown): Statement {
  return matches('==', left, right);
}

function vipElements(vips: readonly Prefix[], family: Family): Element[] {
  return withoutCovered(vips.filter(vip => vip.family === family)).map(({ address, length }) =>
    length === ADDRESS_BITS[family] ? address : { prefix: { addr: address, len: length } },
  );
}

/** The table, its sets and its chains as the objects of a listing, without elements and rules. */
export function frameObjects(table: NftTable): Command[] {
  const place = { family: 'inet', table: table.name };
  return [
    { table: { family: 'inet', name: table.name } },
    ...table.sets.map(({ name, type }) => ({ set: { ...place, name, type, flags: ['interval'] } })),
    ...table.chains.map(({ name, hook, priority }) => ({
      chain: { ...place, name, type: 'filter', hook, prio: priority, policy: 'accept' },
    })),
  ];
}

/** The rules of all chains as the objects of a listing. */
export function ruleObjects({ name: table, chains }: NftTable): Command[] {
  return chains.flatMap(chain =>
    chain.rules.map(expr => ({ rule: { family: 'inet', table, chain: chain.name, expr } })),
  );
}

/**
 * Puts `table` in the place of whatever has its name. Only for a table that is missing or has other chains or sets: with a
 * base chain's hook the kernel drops every packet of the namespace that is queued.
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

/** Fills `contents` of a listed `table` anew: chains and sets stay, and so do the counters of other chains. */
export function refillCommands(table: NftTable, contents: Pick<NftTable, 'chains' | 'sets'>): Command[] {
  const place = { family: 'inet', table: table.name };
  const refilled = { ...contents, name: table.name };
  return [
    ...contents.chains.map(({ name }) => ({ flush: { chain: { ...place, name } } })),
    ...contents.sets.map(({ name }) => ({ flush: { set: { ...place, name } } })),
    ...ruleObjects(refilled).map(object => ({ add: object })),
    ...elementCommands(refilled),
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
