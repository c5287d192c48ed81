/**
 * The chains and rules of other programs, as `nft list ruleset` and `iptables-legacy-save` print them. Contract of this
 * folder (host/kernel/foreign): it reads rules that are not ours and says which of them can take, change or drop packets to
 * VIPs. It changes nothing. Pure, but for list.ts.
 */

import { expandVerdicts } from './statements.js';

export interface ForeignRule {
  /** Without counters and handle. */
  readonly text: string;
  /** The same in the words of nft: what is evaluated. */
  readonly statements: string;
  readonly handle: number | null;
}

export interface Hook {
  readonly type: string;
  readonly at: string;
  readonly priority: number;
  /** Of ingress and egress. */
  readonly devices: readonly string[];
}

export interface ForeignChain {
  /** `table ip mangle`, `iptables-legacy, table filter`: with the chains that its rules can jump to. */
  readonly table: string;
  readonly family: string;
  readonly name: string;
  /** null: other chains jump to it. */
  readonly hook: Hook | null;
  readonly policy: 'accept' | 'drop';
  readonly rules: readonly ForeignRule[];
}

/** Names of priorities (nft(8)); of families other than bridge. */
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

const CHAIN_TYPE =
  /^type (\w+) hook (\w+)(?: devices? = \{ ([^}]*) \}| devices? (\S+))? priority (\S+)(?: ([+-]) (\d+))?;(?: policy (\w+);)?/;

/** Lines after each of which the main thread is free for others. */
const REST_LINES = 2000;

/** @param ruleset of `nft -a -s -t list ruleset`, which is whole */
export async function readRuleset(ruleset: string, rest: () => Promise<void>): Promise<ForeignChain[]> {
  const chains: ForeignChain[] = [];
  let table = '';
  let chain: { -readonly [Key in keyof ForeignChain]: ForeignChain[Key] } & { rules: ForeignRule[] } =
    newChain('', '');
  let isInChain = false;
  let isDormant = false;
  for (const [index, line] of ruleset.split('\n').entries()) {
    if (index % REST_LINES === REST_LINES - 1) await rest();
    const tableName = /^table (\S+ \S+) \{/.exec(line)?.[1];
    if (tableName !== undefined) {
      table = tableName;
      isDormant = false;
    }
    // Its chains are at no hook.
    if (/^\tflags (?:\S+,)*dormant\b/.test(line)) isDormant = true;
    const head = /^\t(\S+)(?: (\S+))? \{/.exec(line);
    if (head !== null) {
      isInChain = head[1] === 'chain';
      if (isInChain) {
        chain = newChain(table, head[2]!);
        if (!isDormant) chains.push(chain);
      }
      continue;
    }
    const [, indent = '', text] = /^\t\t(\s*)(\S.*)$/.exec(line) ?? [];
    // `}` ends a chain without a name, `tcp dport 80 jump { ... }`.
    if (text === undefined || !isInChain || text.startsWith('}')) continue;
    const type = CHAIN_TYPE.exec(text);
    if (type === null) {
      const rule = ruleOf(text);
      // Those of a chain without a name are met by what its own rule matches.
      for (const statements of expandVerdicts(rule.statements))
        chain.rules.push({ ...rule, statements: indent === '' ? statements : `(block) ${statements}` });
      continue;
    }
    const [, kind, at, devices = '', device = '', priority, sign, offset = '0', policy] = type;
    const base = PRIORITIES[priority!] ?? Number(priority);
    chain.hook = {
      type: kind!,
      at: at!,
      priority: base + Number(offset) * (sign === '-' ? -1 : 1),
      devices: [...devices.split(','), device].map(name => name.trim().replaceAll('"', '')).filter(Boolean),
    };
    chain.policy = policy === 'drop' ? 'drop' : 'accept';
  }
  return chains;
}

function newChain(table: string, name: string) {
  const rules: ForeignRule[] = [];
  const policy = 'accept' as 'accept' | 'drop';
  return {
    table: `table ${table}`,
    family: table.split(' ')[0]!,
    name,
    hook: null as Hook | null,
    policy,
    rules,
  };
}

function ruleOf(line: string): ForeignRule {
  const [, body = line, handle] = /^(.*?)(?: # handle (\d+))?$/.exec(line)!;
  const text = body.replace(/(^| )counter(?: packets \d+ bytes \d+)?(?= |$)/g, '').trim();
  return { text, statements: text, handle: handle === undefined ? null : Number(handle) };
}

/** Hooks of the tables of iptables-legacy (netfilter_ipv4.h). */
const LEGACY_PRIORITIES: Readonly<Record<string, number>> = { ...PRIORITIES, nat: -100 };

/** @param saved of iptables-legacy-save, which is whole */
export function readLegacy(saved: string, program: string, family: 'ip' | 'ip6'): ForeignChain[] {
  const chains: (ForeignChain & { rules: ForeignRule[] })[] = [];
  let table = '';
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (name !== undefined) {
      const priority = LEGACY_PRIORITIES[table] ?? 0;
      const hook =
        policy === '-'
          ? null
          : { type: table === 'nat' ? 'nat' : 'filter', at: name.toLowerCase(), priority, devices: [] };
      const isDrop = policy === 'DROP';
      const place = { table: `${program}, table ${table}`, family, name };
      chains.push({ ...place, hook, policy: isDrop ? 'drop' : 'accept', rules: [] });
    }
    const [, of, text] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
    const chain = chains.findLast(each => each.name === of && each.table.endsWith(` table ${table}`));
    chain?.rules.push({ text: text!, statements: legacyStatements(text!, family), handle: null });
  }
  return chains;
}

const LEGACY_TARGETS: Readonly<Record<string, string>> = {
  ACCEPT: 'accept',
  DROP: 'drop',
  REJECT: 'reject',
  RETURN: 'return',
  NFQUEUE: 'queue',
  QUEUE: 'queue',
};

/** What is known of it in the words of nft; all else as `xt match`, which may match. */
function legacyStatements(text: string, family: string): string {
  const words = text.match(/"(?:\\.|[^"])*"|\S+/g) ?? [];
  const statements: string[] = [];
  let not = '';
  for (let index = 0; index < words.length; index += 1) {
    const [option, value = ''] = [words[index]!, words[index + 1]];
    const take = (statement: string): void => {
      statements.push(statement);
      index += 1;
      not = '';
    };
    if (option === '!') not = '!= ';
    else if (option === '-s') take(`${family} saddr ${not}${value}`);
    else if (option === '-d') take(`${family} daddr ${not}${value}`);
    else if (option === '-i') take(`iifname ${not}"${value.replace(/\+$/, '*')}"`);
    else if (option === '-o') take(`oifname ${not}"${value.replace(/\+$/, '*')}"`);
    else if (option === '-p') take(`meta l4proto ${not}${value}`);
    else if (option === '--mark') {
      const [mark, mask = '0xffffffff'] = value.split('/');
      take(`meta mark & ${mask} ${not || '== '}${mark}`);
    } else if (option === '--ctstate' || option === '--state') take(`ct state ${not}${value.toLowerCase()}`);
    else if (option === '--dst-type') take(`fib daddr type ${not}${value.toLowerCase()}`);
    else if (option === '--set-xmark') {
      const [mark, mask = '0xffffffff'] = value.split('/').map(Number);
      take(`meta mark set mark and ${~mask! >>> 0} xor ${mark}`);
    } else if (option === '-m')
      take(/^(?:mark|conntrack|state|addrtype|comment|tcp|udp)$/.test(value) ? '' : `xt match "${value}"`);
    else if (option === '-g') take(`goto ${value}`);
    else if (option === '-j') take(value === 'MARK' ? '' : (LEGACY_TARGETS[value] ?? jumpOrTarget(value)));
    else if (option === '--comment') take('');
    else if (option.startsWith('--') && !/^--(?:reject-with|queue|log|on-|tproxy|save|restore)/.test(option))
      take('xt match "options"');
  }
  return statements.filter(Boolean).join(' ');
}

/** Built-in targets are in capitals. */
const TARGETS =
  /^(?:CLASSIFY|CONNMARK|CONNSECMARK|CT|DNAT|DSCP|ECN|HL|LOG|MASQUERADE|NETMAP|NFLOG|NOTRACK|REDIRECT|SECMARK|SET|SNAT|SYNPROXY|TCPMSS|TEE|TOS|TPROXY|TRACE|TTL)$/;

function jumpOrTarget(name: string): string {
  return TARGETS.test(name) ? `xt target "${name}"` : `jump ${name}`;
}
