/** Rules of another hand that ask for no mark of ours and stand in front of those that do, as lines for people. Pure. */
import { ADDRESS_BITS, prefixInterval } from '../types/address.js';
import type { Prefix } from '../types/config.js';
import { KERNEL_TABLES } from '../types/marks.js';
import type { Claims } from './claims.js';
import { MARK_END_PRIORITY } from './priority.js';
import type { RoutingListing, WantedRouting } from './routing.js';
import { type Rule, type RuleOutline, ruleKey } from './rule.js';
import type { WantedKernel } from './wanted.js';

/**
 * Rules that take packets to VIPs before the rules of some targets do, whatever their mark. What they then do depends on
 * their table, which is another's: so they are told of and nothing is refused. Told is what can take packets of many clients;
 * a rule from one address is this host's own way out, as a rule.
 * @returns one line each
 */
export function rulesInFront(
  { vips, interfaces, markMask }: WantedKernel,
  wanted: WantedRouting,
  listing: RoutingListing,
  claims: Claims,
): string[] {
  return listing.rules.flatMap(({ all }) => {
    const marked = wanted.rules.filter(rule => rule.family === all[0]?.family && leadsAMark(rule));
    const last = marked.reduce((most, { priority }) => Math.max(most, priority), 0);
    return all
      .filter(outline => outline.priority <= last && takesAnyMark(outline, markMask) && !outline.idle)
      .filter(outline => outline.table !== KERNEL_TABLES.last && comesIn(outline, interfaces.external))
      .filter(outline => outline.inverted || (isToSome(outline, vips) && isFromMany(outline, vips)))
      .filter(({ rule }) => rule === null || !isOwn(rule, wanted, claims))
      .flatMap(outline => {
        const behind = marked.filter(rule => standsBehind(rule, outline, all));
        if (behind.length === 0) return [];
        const first = behind.reduce((least, { priority }) => Math.min(least, priority), last);
        return [
          `${inFrontText(outline)} takes packets to VIPs, whatever their ${marksText(outline)}, before our rules from priority ${first} on ` +
            `lead them to their targets: remove it, or give it a priority above ${MARK_END_PRIORITY}`,
        ];
      });
  });
}

/** Of the rules that lead marks to their targets; 0 where there are none. */
export function lastMarkPriority({ rules }: WantedRouting): number {
  return rules.filter(leadsAMark).reduce((most, { priority }) => Math.max(most, priority), 0);
}

/** Few come as far as this: thousands of rules are not looked through for all that are listed. */
function isOwn(rule: Rule, wanted: WantedRouting, claims: Claims): boolean {
  const key = ruleKey(rule);
  return [claims.rules, wanted.rules].some(rules => rules.some(each => ruleKey(each) === key));
}

/** Packets to VIPs come from the outside. */
function comesIn({ iif }: RuleOutline, external: string | null): boolean {
  if (iif === null) return true;
  return external === null ? iif !== 'lo' : iif === external;
}

/** True of a rule of the list, or an entry of the tree; others come behind it. */
function leadsAMark({ priority, fwmark }: Rule): boolean {
  return fwmark !== null && fwmark.value !== 0 && priority < MARK_END_PRIORITY;
}

/** A rule that compares bits of ours is a clash where it meets our marks, see clash.ts. */
function takesAnyMark({ fwmark, inverted }: RuleOutline, markMask: number): boolean {
  return fwmark === null || (fwmark.mask & markMask) === 0 || inverted;
}

/** Of one priority those come first that were added first; what is not there yet comes last. */
function standsBehind(rule: Rule, outline: RuleOutline, all: readonly RuleOutline[]): boolean {
  if (rule.priority !== outline.priority) return rule.priority > outline.priority;
  const same = all.filter(({ priority }) => priority === rule.priority);
  const key = ruleKey(rule);
  const place = same.findIndex(each => each.rule !== null && ruleKey(each.rule) === key);
  return place < 0 || place > same.indexOf(outline);
}

function isToSome({ family, to }: RuleOutline, vips: readonly Prefix[]): boolean {
  if (to === null) return true;
  const { first, last } = prefixInterval(prefixOf(family, to));
  return vips
    .filter(vip => vip.family === family)
    .map(prefixInterval)
    .some(vip => first <= vip.last && vip.first <= last);
}

/** What comes from a VIP is an answer. */
function isFromMany({ family, from }: RuleOutline, vips: readonly Prefix[]): boolean {
  if (from === null) return true;
  const prefix = prefixOf(family, from);
  const { first, last } = prefixInterval(prefix);
  return (
    prefix.length < ADDRESS_BITS[family] &&
    !vips
      .filter(vip => vip.family === family)
      .map(prefixInterval)
      .some(vip => vip.first <= first && last <= vip.last)
  );
}

function prefixOf(family: Prefix['family'], text: string): Prefix {
  const [address = '', length] = text.split('/');
  return { family, address, length: Number(length) };
}

function marksText({ fwmark, inverted }: RuleOutline): string {
  return fwmark === null || fwmark.mask === 0 || inverted ? 'mark' : 'bits of markMask';
}

function inFrontText({ family, priority, inverted, from, to, iif, fwmark, table }: RuleOutline): string {
  const words = [
    inverted ? 'not' : '',
    `from ${from ?? 'all'}`,
    to === null ? '' : `to ${to}`,
    fwmark === null ? '' : `fwmark 0x${fwmark.value.toString(16)}/0x${fwmark.mask.toString(16)}`,
    iif === null ? '' : `iif ${iif}`,
    table === null ? '' : `lookup ${table === KERNEL_TABLES.main ? 'main' : table}`,
  ];
  return `IPv${family} rule ${priority}: ${words.filter(Boolean).join(' ')}`;
}
