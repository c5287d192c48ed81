/** An ip rule of the forms that this daemon makes, its text, and the kernel's listing of all rules. */

import { ADDRESS_BITS, addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';
import { hexadecimal, WHOLE_MARK } from '../types/marks.js';
import { type MarkBlock, under } from './marks.js';

export interface Rule {
  readonly family: Family;
  readonly priority: number;
  /** null: any mark */
  readonly fwmark: MarkBlock | null;
  /** Source prefix `address/length`; null: any source */
  readonly from: string | null;
  /** Destination prefix `address/length`; null: any destination */
  readonly to: string | null;
  /** Table that is looked up; null: blackhole, the packet is dropped, unless one of the next two is there */
  readonly table: number | null;
  /** Priority at whose first rule the walk goes on */
  readonly goto?: number;
  /** The packet is refused as by a host that has no route */
  readonly unreachable?: true;
}

export interface RuleListing {
  /** Rules that have the forms above, whoever made them. */
  readonly rules: readonly Rule[];
  /** What all rules look at, also those of other forms. */
  readonly all: readonly RuleOutline[];
}

/** As much of a rule of any form as tells whether it meets one of ours. */
export interface RuleOutline {
  readonly family: Family;
  readonly priority: number;
  /** null: any mark */
  readonly fwmark: MarkBlock | null;
  /** null: it looks up no table */
  readonly table: number | null;
  /** null: it has a form that none of ours has */
  readonly rule: Rule | null;
  /** As in Rule. */
  readonly from: string | null;
  readonly to: string | null;
  /** Interface that packets come in by; null: any */
  readonly iif: string | null;
  /** It takes what its conditions do not hold of. */
  readonly inverted: boolean;
  /** It takes no packet that is forwarded, or none for a default route, or leads nowhere. */
  readonly idle: boolean;
}

/** One entry of `ip -N -j rule`; -N gives numbers where names from /etc/iproute2 could stand. */
interface RuleEntry {
  readonly priority: number;
  readonly src: string;
  readonly srclen?: number;
  readonly dst?: string;
  readonly dstlen?: number;
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly table?: string;
  readonly action?: string;
  readonly goto?: number;
  /** The rule that `goto` names is not there. */
  readonly unresolved?: null;
  readonly not?: null;
  readonly iif?: string;
}

const KNOWN_KEYS = new Set([
  'priority',
  'src',
  'srclen',
  'dst',
  'dstlen',
  'fwmark',
  'fwmask',
  'table',
  'action',
  'goto',
  'unresolved',
]);
/** A forwarded packet has no `oif` while its way is looked for; `suppress_prefixlen` passes over the default route. */
const IDLE_KEYS = ['oif', 'nop', 'unresolved', 'suppress_prefixlen', 'l3mdev'] as const;
/** FR_ACT_BLACKHOLE of linux/fib_rules.h, and the name that newer versions of ip give it. */
const BLACKHOLE_ACTIONS = new Set(['6', 'blackhole']);
/** FR_ACT_UNREACHABLE, likewise. */
const UNREACHABLE_ACTIONS = new Set(['7', 'unreachable']);

/** By the entries that they were read from: see `readAnswers`. */
const listings = new WeakMap<readonly RuleEntry[], RuleListing>();

/** Read what `ip -N -j -4 rule` (or -6) printed, after JSON parsing. The same entries give the same rules. */
export function parseRules(family: Family, entries: readonly RuleEntry[]): RuleListing {
  const before = listings.get(entries);
  if (before !== undefined && before.all[0]?.family === family) return before;
  const listing = readRules(family, entries);
  listings.set(entries, listing);
  return listing;
}

function readRules(family: Family, entries: readonly RuleEntry[]): RuleListing {
  const all = entries.map(entry => {
    const fwmark = markOf(entry);
    const table = entry.table === undefined ? null : Number(entry.table);
    return {
      ...{ family, priority: entry.priority, fwmark, table, rule: parseRule(family, entry) },
      from: prefixOf(family, entry.src, entry.srclen),
      to: prefixOf(family, entry.dst, entry.dstlen),
      iif: entry.iif ?? null,
      inverted: 'not' in entry,
      idle: IDLE_KEYS.some(key => key in entry),
    };
  });
  return { rules: all.flatMap(({ rule }) => (rule === null ? [] : [rule])), all };
}

function parseRule(family: Family, entry: RuleEntry): Rule | null {
  const known = Object.keys(entry).every(key => KNOWN_KEYS.has(key));
  const end = endOf(entry);
  if (!known || end === null) return null;
  return {
    family,
    priority: entry.priority,
    fwmark: markOf(entry),
    from: prefixOf(family, entry.src, entry.srclen),
    to: prefixOf(family, entry.dst, entry.dstlen),
    ...end,
  };
}

function prefixOf(family: Family, address: string | undefined, length: number | undefined): string | null {
  return address === undefined || address === 'all' ? null : `${address}/${length ?? ADDRESS_BITS[family]}`;
}

/** null: one that none of ours has */
function endOf({ action, goto, table }: RuleEntry): Pick<Rule, 'table' | 'goto' | 'unreachable'> | null {
  if (goto !== undefined) return { table: null, goto };
  if (action === undefined) return table === undefined ? null : { table: Number(table) };
  if (BLACKHOLE_ACTIONS.has(action)) return { table: null };
  return UNREACHABLE_ACTIONS.has(action) ? { table: null, unreachable: true } : null;
}

function markOf({ fwmark, fwmask }: RuleEntry): MarkBlock | null {
  if (fwmark === undefined) {
    return null;
  }
  return { value: Number(fwmark), mask: fwmask === undefined ? WHOLE_MARK : Number(fwmask) };
}

/** What follows `rule add` or `rule del` in a batch of ip. */
export function ruleText(rule: Rule): string {
  const words = [`priority ${rule.priority}`];
  if (rule.from !== null) {
    words.push(`from ${rule.from}`);
  }
  if (rule.to !== null) {
    words.push(`to ${rule.to}`);
  }
  if (rule.fwmark !== null) {
    words.push(`fwmark ${hexadecimal(rule.fwmark.value)}/${hexadecimal(rule.fwmark.mask)}`);
  }
  words.push(endText(rule));
  return words.join(' ');
}

function endText({ table, goto, unreachable }: Rule): string {
  if (table !== null) return `lookup ${table}`;
  if (goto !== undefined) return `goto ${goto}`;
  return unreachable === true ? 'unreachable' : 'blackhole';
}

/** True if packets end here: they are dropped or refused. */
export function endsWalk({ table, goto }: Rule): boolean {
  return table === null && goto === undefined;
}

/** Rules are compared by their keys over and over. */
const keys = new WeakMap<Rule, string>();

/** Equal for equal rules, however their addresses are spelled. */
export function ruleKey(rule: Rule): string {
  const before = keys.get(rule);
  if (before !== undefined) return before;
  const key = keyOf(rule);
  keys.set(rule, key);
  return key;
}

function keyOf(rule: Rule): string {
  const { family, priority, fwmark } = rule;
  const mark = `${fwmark?.value ?? 'any'}/${fwmark?.mask ?? ''}`;
  return `${family} ${priority} ${prefixKey(rule.from)} ${prefixKey(rule.to)} ${mark} ${endText(rule)}`;
}

function prefixKey(prefix: string | null): string {
  if (prefix === null) {
    return 'all';
  }
  const [address = '', length] = prefix.split('/');
  return `${addressNumber(address).toString(16)}/${length}`;
}

/** By family, priority, mark and mask: each look wants the same thousands of them, and `ruleKey` knows them again. */
const markRules = new Map<string, Rule>();
const MOST_MARK_RULES = 100_000;

/** The rule that sends a target's mark to its table, which has the mark's number. */
export function markRule(family: Family, priority: number, fwmark: number, markMask = WHOLE_MARK): Rule {
  const name = `${family} ${priority} ${fwmark} ${markMask}`;
  const before = markRules.get(name);
  if (before !== undefined) return before;
  const mark = under({ value: fwmark, mask: WHOLE_MARK }, markMask);
  const rule = { family, priority, fwmark: mark, from: null, to: null, table: fwmark };
  if (markRules.size >= MOST_MARK_RULES) markRules.clear();
  markRules.set(name, rule);
  return rule;
}

/** True if `rule`, one of ours, sends the mark of a target to its table, at whatever priority and under whatever markMask. */
export function servesMark(rule: Rule, fwmark: number): boolean {
  return rule.from === null && rule.to === null && rule.table === fwmark && rule.fwmark?.value === fwmark;
}
