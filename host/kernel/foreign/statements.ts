/**
 * One rule against one kind of packets: whether it can match them, and what it does with them. nft prints statements one
 * after the other without a mark between them, so they are read from the left. Words that are not known here may match.
 */
import { addressNumber, type Interval, prefixInterval } from '../../types/address.js';
import type { Family } from '../../types/config.js';
import { overlapsPattern, withinPattern } from '../pattern.js';
import type { Packets } from './packets.js';

export type Match = 'no' | 'may' | 'yes';

export type Effect =
  | { readonly kind: 'accept' | 'drop' | 'queue' | 'local' | 'take' | 'rewrite' | 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string }
  /** null: to what is not known. */
  | { readonly kind: 'mark'; readonly result: (mark: number) => number | null };

export interface Evaluation {
  readonly match: Match;
  /** In their order. */
  readonly effects: readonly Effect[];
}

type Outcome = Match | Effect | 'nothing';
type Reader = readonly [pattern: RegExp, read: (groups: string[], packets: Packets) => Outcome];

/** Not the dot of a key of several parts, `ip daddr . tcp dport { ... }`. */
const VALUE = String.raw`(\{[^}]*\}|@\S+|"[^"]*"|(?!\. |vmap )\S+)`;
const NOT = '(!= |== )?';

/** Each pattern begins where the one before ended. */
const READERS: readonly Reader[] = [
  [/counter(?: packets \d+ bytes \d+)?/y, () => 'nothing'],
  [/comment "(?:\\.|[^"])*"/y, () => 'nothing'],
  [
    /log(?: (?:prefix "(?:\\.|[^"])*"|level \w+|group \d+|snaplen \d+|queue-threshold \d+|flags (?:all|ether|ip options|skuid|tcp [\w,]+)))*/y,
    () => 'nothing',
  ],
  [/notrack/y, () => 'nothing'],
  [/ip6? (?:daddr|saddr|dscp|ttl|ecn) set \S+/y, words => rewriteOf(words[0]!)],
  [/(?:tcp|udp|udplite|sctp|dccp|th) dport set \S+/y, () => ({ kind: 'rewrite' })],
  [
    /(?:meta )?mark set (.+?)(?= (?:counter|accept|drop|return|jump|goto|log|comment|ct|meta|reject|queue|continue)\b|$)/y,
    markSetter,
  ],
  [
    /(?:meta \w+|ct \w+|tcp option \w+ \w+|@\S+|ip6? \w+|tcp \w+|udp \w+|th \w+) set .+?(?= (?:counter|accept|drop|return|jump|goto|log|comment|reject|queue|continue)\b|$)/y,
    () => 'nothing',
  ],
  [new RegExp(`ct state ${NOT}(\\{[^}]*\\}|(?!vmap )[\\w,]+(?:, \\w+)*)`, 'y'), ctState],
  [/ct state vmap @\S+/y, () => 'may'],
  // The kernel also counts packets that are not tracked.
  [/ct count (?:over )?\d+/y, () => 'may'],
  // Packets to and from VIPs are not tracked: other questions about their connection end the rule.
  [/ct \w+(?: \S+)?(?= )/y, () => 'no'],
  [new RegExp(`(ip6?) (daddr|saddr) ${NOT}${VALUE}(?! :)`, 'y'), address],
  [new RegExp(`(iifname|oifname|iif|oif) ${NOT}${VALUE}`, 'y'), device],
  [
    /(?:meta )?mark (?:&|and) (\S+) (==|!=) (\S+)/y,
    ([, mask, operator, value], packets) => markOutcome(packets, Number(mask), Number(value), `${operator} `),
  ],
  [
    /(?:meta )?mark (!= |== )?(0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?(?![\w-])/y,
    ([, not, value, mask = '0xffffffff'], packets) => markOutcome(packets, Number(mask), Number(value), not),
  ],
  [
    /meta nfproto (!= )?(ipv4|ipv6)/y,
    ([, not, name], { family }) => sure((name === `ipv${family}`) === (not === undefined)),
  ],
  [
    /fib daddr(?: \. iif)? type (!= )?(\w+)/y,
    ([, not, type]) =>
      type === 'local' ? sure(not !== undefined) : type === 'unicast' ? sure(not === undefined) : 'may',
  ],
  // Other questions about a route; `iif` and `oif` are no interfaces here.
  [
    /fib \w+(?: \. \w+)* (?:oifname|oif|check|type)(?: (?:!= )?(?:\{[^}]*\}|"[^"]*"|(?!vmap )\w+))?/y,
    () => 'may',
  ],
  [/icmp \S+ (?:!= )?(?:\{[^}]*\}|\S+)/y, (_, { family }) => (family === 4 ? 'may' : 'no')],
  [/icmpv6 \S+ (?:!= )?(?:\{[^}]*\}|\S+)/y, (_, { family }) => (family === 6 ? 'may' : 'no')],
  [/accept/y, () => ({ kind: 'accept' })],
  [/drop/y, () => ({ kind: 'drop' })],
  [/reject(?: with .*)?/y, () => ({ kind: 'drop' })],
  [/return/y, () => ({ kind: 'return' })],
  [/continue/y, () => 'nothing'],
  [/(jump|goto) (?!\{)(\S+)/y, ([, kind, chain]) => ({ kind: kind as 'jump' | 'goto', chain: chain! })],
  [/queue(?: (?:num|to|flags)? ?.*)?/y, () => ({ kind: 'queue' })],
  [/tproxy .*/y, () => ({ kind: 'local' })],
  [/(?:fwd to|synproxy)\b.*/y, () => ({ kind: 'take' })],
  // Of chains of type nat, which packets that are not tracked never meet.
  [/(?:masquerade|snat|dnat|redirect)\b.*/y, () => 'nothing'],
  [/xt target "?(\w+)"?/y, ([, name]) => XT_TARGETS[name!] ?? 'nothing'],
];

const UNKNOWN_CHANGE: Effect = { kind: 'mark', result: () => null };
/** Targets of xtables that nft does not translate. CONNMARK changes no packet that is not tracked. */
const XT_TARGETS: Readonly<Record<string, Effect>> = {
  MARK: UNKNOWN_CHANGE,
  TPROXY: { kind: 'local' },
  NFQUEUE: { kind: 'queue' },
  REJECT: { kind: 'drop' },
  SYNPROXY: { kind: 'take' },
  // Of xtables-addons.
  ...{ TARPIT: { kind: 'take' }, DELUDE: { kind: 'take' }, CHAOS: { kind: 'take' }, STEAL: { kind: 'take' } },
};

/**
 * A verdict map as one rule for each of its elements: `ip daddr vmap { 20.0.0.0/8 : drop }` is `ip daddr 20.0.0.0/8 drop`.
 * @returns `statements` alone without such a map, or with one that has a name: its elements are not looked at
 */
export function expandVerdicts(statements: string): string[] {
  const [, key, elements, rest = ''] = /^(.*?) vmap \{ (.*?) \}(?= |$)(.*)$/.exec(statements) ?? [];
  if (elements === undefined) return [statements];
  return [
    ...elements.matchAll(
      /((?:"(?:\\.|[^"])*"|[^",])+?) : (accept|drop|continue|return|(?:jump|goto) \S+?)(?:, |$)/g,
    ),
  ].map(([, value, verdict]) => `${key} ${value} ${verdict}${rest}`);
}

export function evaluate(statements: string, packets: Packets): Evaluation {
  let match: Match = 'yes';
  const effects: Effect[] = [];
  for (let at = 0; at < statements.length; ) {
    const found = readAt(statements, at, packets);
    if (found === null) {
      // A word that is not known, or a part of one.
      match = 'may';
      const next = /(?:\{[^}]*\}|"(?:\\.|[^"])*"|\S+)\s*/y;
      next.lastIndex = at;
      next.test(statements);
      at = Math.max(at + 1, next.lastIndex);
      continue;
    }
    const [outcome, end] = found;
    if (outcome === 'no') return { match: 'no', effects: [] };
    if (outcome === 'may') match = 'may';
    if (typeof outcome === 'object') effects.push(outcome);
    at = end;
    while (statements[at] === ' ') at += 1;
  }
  return { match, effects };
}

function readAt(statements: string, at: number, packets: Packets): [Outcome, number] | null {
  for (const [pattern, read] of READERS) {
    pattern.lastIndex = at;
    const groups = pattern.exec(statements);
    const end = pattern.lastIndex;
    // A pattern ends with a word.
    if (groups !== null && end > at && (end === statements.length || statements[end] === ' '))
      return [read([...groups], packets), end];
  }
  return null;
}

function sure(holds: boolean): Match {
  return holds ? 'yes' : 'no';
}

function inverted(match: Match, not: string | undefined): Match {
  if (not !== '!= ' || match === 'may') return match;
  return match === 'yes' ? 'no' : 'yes';
}

function rewriteOf(words: string): Outcome {
  return /^ip6? daddr/.test(words) ? { kind: 'rewrite' } : 'nothing';
}

function address([, protocol, field, not, value]: string[], packets: Packets): Outcome {
  if ((protocol === 'ip' ? 4 : 6) !== packets.family) return 'no';
  const ours = field === 'daddr' ? packets.destinations : packets.sources;
  if (value!.startsWith('@')) return 'may';
  const theirs = listed(value!).map(each => intervalOf(packets.family, each));
  if (theirs.includes(null)) return 'may';
  const intervals = theirs as Interval[];
  if (ours === null) {
    // Single clients are blocked on purpose: that is no fault to tell of.
    const areSingle = intervals.every(({ first, last }) => first === last);
    return areSingle && not !== '!= ' ? 'no' : 'may';
  }
  const meets = ours.some(own => intervals.some(({ first, last }) => first <= own.last && own.first <= last));
  const holds = ours.every(own =>
    intervals.some(({ first, last }) => first <= own.first && own.last <= last),
  );
  return inverted(holds ? 'yes' : meets ? 'may' : 'no', not);
}

/** `20.0.0.1`, `20.0.0.0/8`, `20.0.0.1-20.0.0.9`; null: something else. */
function intervalOf(family: Family, text: string): Interval | null {
  const [first = '', last] = text.split('-');
  const [address = '', length] = first.split('/');
  const isAddress = family === 4 ? /^[\d.]+$/ : /^[0-9a-f:.]+$/i;
  if (!isAddress.test(address) || (last !== undefined && !isAddress.test(last))) return null;
  if (last !== undefined) return { first: addressNumber(address), last: addressNumber(last) };
  const bits = family === 4 ? 32 : 128;
  if (length !== undefined && !/^\d+$/.test(length)) return null;
  return prefixInterval({ family, address, length: length === undefined ? bits : Number(length) });
}

function listed(value: string): string[] {
  const inner = value.startsWith('{') ? value.slice(1, -1) : value;
  return inner
    .split(',')
    .map(each => each.trim())
    .filter(Boolean);
}

function device([, key, not, value]: string[], packets: Packets): Outcome {
  const ours = key!.startsWith('iif') ? packets.inputs : packets.outputs;
  if (ours === null || ours.length === 0 || value!.startsWith('@')) return 'may';
  const theirs = listed(value!).map(name => name.replaceAll('"', ''));
  const meets = ours.some(own => theirs.some(other => overlapsPattern(own, other)));
  const holds = ours.every(own => theirs.some(other => withinPattern(own, other)));
  return inverted(holds ? 'yes' : meets ? 'may' : 'no', not);
}

/** `meta mark & MASK == VALUE`, of the marks that the packets can have. */
function markOutcome(
  { marks, knownBits }: Packets,
  mask: number,
  value: number,
  not: string | undefined,
): Outcome {
  if (marks === null || Number.isNaN(mask) || Number.isNaN(value)) return 'may';
  const known = mask & knownBits;
  const canMatch = (value & ~mask) === 0;
  const count = canMatch ? marks.filter(mark => ((mark ^ value) & known) === 0).length : 0;
  const asksUnknown = (mask & ~knownBits) !== 0;
  return inverted(count === marks.length && !asksUnknown ? 'yes' : count > 0 ? 'may' : 'no', not);
}

/** The states of a connection that a rule asks for: packets to and from VIPs are untracked. */
function ctState([, not, value]: string[]): Outcome {
  return inverted(listed(value!).includes('untracked') ? 'yes' : 'no', not);
}

/** What a statement `meta mark set EXPRESSION` makes of a mark. */
function markSetter([, words]: string[]): Outcome {
  const text = words!
    .replaceAll(/[()]/g, '')
    .replaceAll(/\bmeta mark\b/g, 'mark')
    .trim();
  // The mark of a connection: there is none, so the rule ends.
  if (/^ct mark\b/.test(text)) return 'no';
  const [first, ...rest] = text.split(' ');
  if (first !== 'mark') {
    const value = Number(text);
    return { kind: 'mark', result: () => (Number.isNaN(value) ? null : value) };
  }
  return { kind: 'mark', result: mark => applied(mark, rest) };
}

/** `and 0xff00ffff xor 0x40000`, from the left. */
function applied(mark: number, words: readonly string[]): number | null {
  let result = mark;
  for (let index = 0; index < words.length; index += 2) {
    const operand = Number(words[index + 1]);
    if (Number.isNaN(operand)) return null;
    switch (words[index]) {
      case 'and':
      case '&':
        result &= operand;
        break;
      case 'or':
      case '|':
        result |= operand;
        break;
      case 'xor':
      case '^':
        result ^= operand;
        break;
      default:
        return null;
    }
  }
  return result >>> 0;
}
