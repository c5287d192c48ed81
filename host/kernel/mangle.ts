/**
 * Our rules in the xtables mangle tables: recognised by their marks, changed in one transaction a family.
 * `iptables-nft-save` lists them. It refuses the whole table, with exit code 0, where a rule of `nft` stands that it cannot
 * translate. Then `nft` lists our rules by their handles, and `iptables-nft -C` says whether the wanted one is there.
 */

import type { Run } from '../programs/command.js';
import { excerpt } from '../programs/excerpt.js';
import type { Family } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import { FORMER_QUEUE_MARK, QUEUE_MARK } from '../types/marks.js';
import type { MangleRule } from './carrier.js';
import { listObjects } from './nft-list.js';
import type { ListedObject } from './nft-listing.js';

const PROGRAMS: Readonly<Record<Family, string>> = { 4: 'iptables-nft', 6: 'ip6tables-nft' };
const TABLES: Readonly<Record<Family, string>> = { 4: 'ip', 6: 'ip6' };
const CHAINS = ['PREROUTING', 'OUTPUT'] as const;
/** Ours, if the mark is. */
const QUEUEING = /^-A (PREROUTING|OUTPUT) (-m mark --mark 0x[0-9a-f]+(?:\/0x[0-9a-f]+)? -j NFQUEUE .*)$/;
/** Marks of our rules where nothing says others. */
const USUAL_MARKS: readonly number[] = [QUEUE_MARK, FORMER_QUEUE_MARK];

export interface MangleListing {
  /** Ours, doubles included. */
  readonly rules: readonly MangleRule[];
  /** The same by their handles; null: iptables-nft-save listed them. */
  readonly handles: readonly MangleHandle[] | null;
}

/** One rule of ours, as nft names it. */
interface MangleHandle {
  readonly chain: MangleRule['chain'];
  readonly handle: number;
}

/** The rules of ours in what iptables-nft-save printed, doubles included; null: it refused to list the table. */
export function parseMangleRules(saved: string, marks = USUAL_MARKS): MangleRule[] | null {
  const lines = saved.split('\n');
  // A table that does not exist is listed too, with its chains.
  if (!lines.includes('*mangle') || !lines.includes('COMMIT')) return null;
  return lines.flatMap(line => {
    const match = QUEUEING.exec(line);
    if (match === null) return [];
    const rule = { chain: match[1] as MangleRule['chain'], text: match[2]! };
    return marks.includes(markOf(rule)!) ? [rule] : [];
  });
}

/** The mark that a rule queues; null: only its handle is known. */
export function markOf({ text }: MangleRule): number | null {
  const mark = /--mark 0x([0-9a-f]+)/.exec(text)?.[1];
  return mark === undefined ? null : Number.parseInt(mark, 16);
}

/**
 * Input of iptables-nft-restore that leaves exactly `wanted`; null if that is what stands. New rules come in at the top
 * before the old ones go, and both happen at once.
 */
export function renderMangle(listed: readonly MangleRule[], wanted: readonly MangleRule[]): string | null {
  const surplus = [...listed];
  const missing = wanted.filter(rule => {
    const index = surplus.findIndex(other => other.chain === rule.chain && other.text === rule.text);
    if (index >= 0) {
      surplus.splice(index, 1);
    }
    return index < 0;
  });
  return missing.length === 0 && surplus.length === 0 ? null : restoreInput(missing, surplus);
}

function restoreInput(added: readonly MangleRule[], removed: readonly MangleRule[]): string {
  const lines = [
    ...added.map(rule => `-I ${rule.chain} ${rule.text}`),
    ...removed.map(rule => `-D ${rule.chain} ${rule.text}`),
  ];
  return `${['*mangle', ...lines, 'COMMIT'].join('\n')}\n`;
}

/**
 * The rules of ours in one family's mangle table.
 * @param wanted those that iptables-nft is asked about where it does not list the table
 * @param marks  that rules of ours queue, or queued before
 * @throws KernelError
 */
export async function listMangle(
  run: Run,
  family: Family,
  wanted: readonly MangleRule[],
  marks = USUAL_MARKS,
): Promise<MangleListing> {
  const { stdout } = await run(`${PROGRAMS[family]}-save`, ['-t', 'mangle']);
  const rules = parseMangleRules(stdout, marks);
  return rules === null ? listHandles(run, family, wanted, marks) : { rules, handles: null };
}

/** As `listMangle`, without iptables-nft-save. */
async function listHandles(
  run: Run,
  family: Family,
  wanted: readonly MangleRule[],
  marks: readonly number[],
): Promise<{ rules: MangleRule[]; handles: MangleHandle[] }> {
  const handles: MangleHandle[] = [];
  const rules: MangleRule[] = [];
  for (const chain of CHAINS) {
    const objects = await listObjects(run, ['chain', TABLES[family], 'mangle', chain]);
    const own = (objects ?? [])
      .filter(object => isOurs(object, marks))
      .map(({ rule }) => ({ chain, handle: Number(rule!.handle) }));
    const asked = own.length === 0 ? [] : wanted.filter(rule => rule.chain === chain);
    const found: MangleRule[] = [];
    for (const rule of asked) if (await stands(run, family, rule)) found.push(rule);
    handles.push(...own);
    rules.push(
      ...found,
      ...own.slice(found.length).map(({ handle }) => ({ chain, text: `(the rule with handle ${handle})` })),
    );
  }
  return { rules, handles };
}

/** iptables-nft compares rules one by one, and gives up at the first one that it cannot translate: then it finds nothing. */
async function stands(run: Run, family: Family, { chain, text }: MangleRule): Promise<boolean> {
  const args = ['-t', 'mangle', '-C', chain, ...text.split(' ')];
  return (await run(PROGRAMS[family], args, { allowFailure: true })).exitCode === 0;
}

/** True for a rule that queues what bears one of `marks`, whatever the queues. */
function isOurs({ rule }: ListedObject, marks: readonly number[]): boolean {
  const statements = ((rule?.expr ?? []) as Record<string, unknown>[]).filter(
    ({ counter }) => counter === undefined,
  );
  const [match, end] = statements;
  if (statements.length !== 2 || match?.match === undefined) return false;
  const { left, right } = match.match as { left: unknown; right: unknown };
  const asksForMark =
    JSON.stringify(left).includes('{"meta":{"key":"mark"}}') && marks.includes(right as number);
  return (
    asksForMark &&
    ((end?.xt as { name?: string } | undefined)?.name === 'NFQUEUE' || end?.queue !== undefined)
  );
}

/**
 * Make `wanted` the rules of ours in one family's mangle table.
 * @returns whether `listed` differed
 * @throws KernelError, also if the kernel then lists others
 */
export async function applyMangle(
  run: Run,
  family: Family,
  wanted: readonly MangleRule[],
  listed: MangleListing,
  marks = USUAL_MARKS,
): Promise<boolean> {
  const input = renderMangle(listed.rules, wanted);
  if (input === null) return false;
  if (listed.handles === null) {
    await restore(run, family, input);
    const { rules } = await listMangle(run, family, wanted, marks);
    if (renderMangle(rules, wanted) === null) return true;
    // It does not list what it took: to add that once more would double it.
  }
  const { handles } = await listHandles(run, family, wanted, marks);
  // The wanted rules first, so that no packet misses them. All others go, since handles do not tell which of them is wanted.
  if (wanted.length > 0) await restore(run, family, restoreInput(wanted, []));
  await deleteHandles(run, family, handles);
  const { rules } = await listHandles(run, family, wanted, marks);
  if (renderMangle(rules, wanted) === null) return true;
  throw new KernelError(
    `table ${TABLES[family]} mangle: the rules that queue were changed, and the kernel does not list them so: ` +
      `wanted ${rulesText(wanted)}, listed ${rulesText(rules)}`,
  );
}

/** Delete our rules of one family's mangle table. @throws KernelError, also if one of them is left */
export async function clearMangle(run: Run, family: Family, marks = USUAL_MARKS): Promise<void> {
  await applyMangle(run, family, [], await listMangle(run, family, [], marks), marks);
  // Also those that iptables-nft-save does not show.
  await deleteHandles(run, family, (await listHandles(run, family, [], marks)).handles);
  const { rules } = await listHandles(run, family, [], marks);
  if (rules.length > 0) {
    throw new KernelError(
      `table ${TABLES[family]} mangle: rules of ours are left after their removal: ${rulesText(rules)}`,
    );
  }
}

function rulesText(rules: readonly MangleRule[]): string {
  return rules.length === 0 ? 'none' : excerpt(rules.map(({ chain, text }) => `${chain} ${text}`).join(', '));
}

async function restore(run: Run, family: Family, input: string): Promise<void> {
  await run(`${PROGRAMS[family]}-restore`, ['--noflush'], { input });
}

async function deleteHandles(run: Run, family: Family, handles: readonly MangleHandle[]): Promise<void> {
  if (handles.length === 0) return;
  const place = { family: TABLES[family], table: 'mangle' };
  const commands = handles.map(({ chain, handle }) => ({ delete: { rule: { ...place, chain, handle } } }));
  await run('nft', ['-j', '-f', '-'], { input: JSON.stringify({ nftables: commands }) });
}
