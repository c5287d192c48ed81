/**
 * Who has the kernel track connections in this namespace: with the first rule that asks for it the kernel registers its
 * defragmentation (nf_ct_netns_get), with the last one it goes. Of what is untracked before, as everything is where fragments
 * are tracked here, it puts nothing together (ipv4_conntrack_defrag, ipv6_defrag), and such rules see nothing of it.
 * Found in nftables, iptables-nft among them, and in iptables-legacy; not seen are IPVS, Open vSwitch and tc.
 */
import type { Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { listLegacy } from './legacy.js';
import { DEFRAG_TABLE } from './nft.js';
import { listRuleset } from './nft-list.js';

/** One rule that needs connection tracking. */
export interface TrackingRule {
  /** `table ip nat, chain POSTROUTING` */
  readonly place: string;
  /** As it is listed, without counters. */
  readonly rule: string;
}

/** Families whose packets the queue may see; others have hooks of their own. */
const FAMILIES = new Set(['ip', 'ip6', 'inet']);
const MATCHES = 'cluster|connbytes|connlabel|connlimit|connmark|conntrack|helper|socket|state';
const TARGETS = 'CLUSTERIP|CONNMARK|CONNSECMARK|DNAT|MASQUERADE|NETMAP|REDIRECT|SNAT|SYNPROXY|TPROXY';
/** `xt`: a module of iptables that nft does not translate. */
const NFT_RULE = new RegExp(
  '(?:^| )(?:ct|masquerade|redirect|snat|dnat|synproxy|tproxy|flow (?:add|offload)|' +
    `xt match (?:${MATCHES})|xt target (?:${TARGETS}|CT))(?: |$)`,
);
/** `-j CT --notrack` does without. */
const LEGACY_RULE = new RegExp(`-m (?:${MATCHES}) |-j (?:(?:${TARGETS}) |CT (?!--notrack))`);

/** @param ruleset what `nft list ruleset` prints */
export function trackingRules(ruleset: string): TrackingRule[] {
  let table = '';
  let chain = '';
  return ruleset.split('\n').flatMap(line => {
    const [, tableName] = /^table (\S+ \S+) \{/.exec(line) ?? [];
    if (tableName !== undefined) table = tableName;
    const [, kind, name] = /^\t(\S+)(?: (\S+))? \{/.exec(line) ?? [];
    if (kind !== undefined) chain = kind === 'chain' ? name! : '';
    // Deeper are those of a chain without a name: `tcp dport 80 jump { ... }`.
    const rule = /^\t\t\s*(.*)$/.exec(line)?.[1];
    if (rule === undefined || chain === '' || !FAMILIES.has(table.split(' ')[0]!)) return [];
    // Some versions of nft print a module's name in quotes, 1.0.6 does not. Comments and other names in quotes may hold any words.
    const words = rule.replace(/(^| )xt (match|target) "(\w+)"/g, '$1xt $2 $3').replace(/"[^"]*"/g, '""');
    return NFT_RULE.test(words)
      ? [{ place: `table ${table}, chain ${chain}`, rule: withoutCounter(rule) }]
      : [];
  });
}

function withoutCounter(rule: string): string {
  return rule.replace(/(^| )counter(?: packets \d+ bytes \d+)?(?= |$)/, '').trim();
}

/** @param saved what iptables-legacy-save prints */
export function legacyTrackingRules(saved: string, program: string): TrackingRule[] {
  let table = '';
  return saved.split('\n').flatMap(line => {
    if (line.startsWith('*')) table = line.slice(1);
    if (!line.startsWith('-A ') || !LEGACY_RULE.test(`${line} `)) return [];
    return [{ place: `${program}, table ${table}`, rule: line }];
  });
}

/** Whether it is our own rule: it stays where packets that wait in a queue would be dropped with it. */
export function isOwn({ place }: TrackingRule): boolean {
  return place.startsWith(`table inet ${DEFRAG_TABLE},`);
}

/** All of this namespace. @throws KernelError */
export async function listTrackingRules(run: Run): Promise<TrackingRule[]> {
  const ruleset = await listRuleset(run, ['-t', '-s']);
  const legacy = await Promise.all(([4, 6] as const).map(family => legacyRules(run, family)));
  return [...trackingRules(ruleset), ...legacy.flat()];
}

async function legacyRules(run: Run, family: Family): Promise<TrackingRule[]> {
  const listed = await listLegacy(run, family);
  if (listed === null) return [];
  if ('saved' in listed) return legacyTrackingRules(listed.saved, listed.program);
  const { program, tables, reason } = listed;
  return [{ place: `${program}, table ${tables.join(', ')}`, rule: `unknown: ${reason}` }];
}

/** Whose rules see nothing of what comes in where fragments are tracked, one line for each place; our own is no matter. */
export function trackingWarnings(rules: readonly TrackingRule[]): string[] {
  const places = new Map(rules.filter(rule => !isOwn(rule)).map(({ place, rule }) => [place, rule] as const));
  return [...places].map(
    ([place, rule]) =>
      `fragments: track: ${place} has the kernel track connections ("${rule}"): what comes in is untracked before, ` +
      'so the kernel does not reassemble its fragments. Remove the rule, or configure fragments: kernel',
  );
}
