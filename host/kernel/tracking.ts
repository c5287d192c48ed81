/**
 * Who has the kernel track connections in this namespace: with the first rule that asks for it the kernel registers its
 * defragmentation (nf_ct_netns_get), with the last one it goes. Of what is untracked before, as everything is where fragments
 * are tracked here, it puts nothing together (ipv4_conntrack_defrag, ipv6_defrag), and such rules see nothing of it.
 * Found in nftables, iptables-nft among them, and in iptables-legacy; not seen are IPVS, Open vSwitch and tc.
 */
import { readFileSync } from 'node:fs';
import type { Run } from '../programs/command.js';
import { excerpt } from '../programs/excerpt.js';
import type { Family } from '../types/config.js';
import { EnvironmentError, KernelError } from '../types/errors.js';
import { DEFRAG_TABLE } from './nft.js';

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

/**
 * @param ruleset what `nft list ruleset` prints
 * @throws KernelError if that is not a whole ruleset
 */
export function trackingRules(ruleset: string): TrackingRule[] {
  refuseCutOff(ruleset);
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

function refuseCutOff(ruleset: string): void {
  const lines = ruleset.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  if (lines.length === 0 || (/^table .* \{$/.test(lines[0]!) && lines.at(-1) === '}')) return;
  throw new KernelError(`nft list ruleset: not a whole ruleset: ${excerpt(ruleset.slice(-LAST))}`);
}

/** Characters of a listing that is cut off in a message. */
const LAST = 100;

function withoutCounter(rule: string): string {
  return rule.replace(/(^| )counter(?: packets \d+ bytes \d+)?(?= |$)/, '').trim();
}

/**
 * @param saved what iptables-legacy-save prints
 * @throws KernelError if a table is not listed to its end
 */
export function legacyTrackingRules(saved: string, program: string): TrackingRule[] {
  const begun = saved.match(/^\*/gm)?.length ?? 0;
  const ended = saved.match(/^COMMIT$/gm)?.length ?? 0;
  if (begun !== ended || begun === 0) {
    throw new KernelError(`${program}-save: not a whole listing: ${excerpt(saved.slice(-LAST))}`);
  }
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
  const { stdout } = await run('nft', ['-t', '-s', 'list', 'ruleset']);
  const legacy = await Promise.all(([4, 6] as const).map(family => listLegacy(run, family)));
  return [...trackingRules(stdout), ...legacy.flat()];
}

async function listLegacy(run: Run, family: Family): Promise<TrackingRule[]> {
  const [program, file] =
    family === 4 ? ['iptables-legacy', 'ip_tables_names'] : ['ip6tables-legacy', 'ip6_tables_names'];
  const tables = legacyTables(`/proc/self/net/${file}`);
  if (tables.length === 0) return [];
  try {
    return legacyTrackingRules((await run(`${program}-save`, [])).stdout, program);
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    return [{ place: `${program}, table ${tables.join(', ')}`, rule: `unknown: ${error.message}` }];
  }
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

/** Whose rules see nothing of what comes in where fragments are tracked, one line for each place; our own is no matter. */
export function trackingWarnings(rules: readonly TrackingRule[]): string[] {
  const places = new Map(rules.filter(rule => !isOwn(rule)).map(({ place, rule }) => [place, rule] as const));
  return [...places].map(
    ([place, rule]) =>
      `fragments: track: ${place} has the kernel track connections ("${rule}"): what comes in is untracked before, ` +
      'so that its fragments are not put together',
  );
}
