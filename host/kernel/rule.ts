/** An ip rule of the forms that this daemon makes, its text, and the kernel's listing of all rules. */

import { ADDRESS_BITS, addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';
import { type MarkBlock, WHOLE_MARK } from './marks.js';

export interface Rule {
  readonly family: Family;
  readonly priority: number;
  /** null: any mark */
  readonly fwmark: MarkBlock | null;
  /** Source prefix `address/length`; null: any source */
  readonly from: string | null;
  /** Table that is looked up; null: blackhole, the packet is dropped */
  readonly table: number | null;
}

export interface RuleListing {
  /** Rules that have the forms above, whoever made them. */
  readonly rules: readonly Rule[];
  /** Priorities of all rules. */
  readonly priorities: ReadonlySet<number>;
}

/** One entry of `ip -N -j rule`; -N gives numbers where names from /etc/iproute2 could stand. */
interface RuleEntry {
  readonly priority: number;
  readonly src: string;
  readonly srclen?: number;
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly table?: string;
  readonly action?: string;
}

const KNOWN_KEYS = new Set(['priority', 'src', 'srclen', 'fwmark', 'fwmask', 'table', 'action']);
/** FR_ACT_BLACKHOLE of linux/fib_rules.h, and the name that newer versions of ip give it. */
const BLACKHOLE_ACTIONS = new Set(['6', 'blackhole']);

/** Read what `ip -N -j -4 rule` (or -6) printed, after JSON parsing. */
export function parseRules(family: Family, entries: readonly RuleEntry[]): RuleListing {
  const rules = entries.flatMap(entry => {
    const rule = parseRule(family, entry);
    return rule === null ? [] : [rule];
  });
  return { rules, priorities: new Set(entries.map(entry => entry.priority)) };
}

function parseRule(family: Family, entry: RuleEntry): Rule | null {
  const known = Object.keys(entry).every(key => KNOWN_KEYS.has(key));
  const blackhole = entry.action !== undefined && BLACKHOLE_ACTIONS.has(entry.action);
  if (!known || (entry.action !== undefined && !blackhole) || (entry.table === undefined && !blackhole)) {
    return null;
  }
  const fwmark =
    entry.fwmark === undefined
      ? null
      : { value: Number(entry.fwmark), mask: entry.fwmask === undefined ? WHOLE_MARK : Number(entry.fwmask) };
  const from = entry.src === 'all' ? null : `${entry.src}/${entry.srclen ?? ADDRESS_BITS[family]}`;
  return { family, priority: entry.priority, fwmark, from, table: blackhole ? null : Number(entry.table) };
}

/** What follows `rule add` or `rule del` in a batch of ip. */
export function ruleText(rule: Rule): string {
  const words = [`priority ${rule.priority}`];
  if (rule.from !== null) {
    words.push(`from ${rule.from}`);
  }
  if (rule.fwmark !== null) {
    words.push(`fwmark 0x${rule.fwmark.value.toString(16)}/0x${rule.fwmark.mask.toString(16)}`);
  }
  words.push(rule.table === null ? 'blackhole' : `lookup ${rule.table}`);
  return words.join(' ');
}

/** Equal for equal rules, however their addresses are spelled. */
export function ruleKey(rule: Rule): string {
  const { family, priority, fwmark, table } = rule;
  const [address = '', length] = rule.from?.split('/') ?? [];
  const from = rule.from === null ? 'all' : `${addressNumber(address).toString(16)}/${length}`;
  return `${family} ${priority} ${from} ${fwmark?.value ?? 'any'}/${fwmark?.mask ?? ''} ${table ?? 'blackhole'}`;
}

/** True if `rule` sends exactly the mark of a target to its table, at whatever priority. */
export function servesMark(rule: Rule, fwmark: number): boolean {
  return (
    rule.from === null &&
    rule.table === fwmark &&
    rule.fwmark?.value === fwmark &&
    rule.fwmark.mask === WHOLE_MARK
  );
}
