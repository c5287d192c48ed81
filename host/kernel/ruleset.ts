/** nftables and mangle tables, applied and removed through `nft` and `iptables-nft`. */

import type { Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import { claimedMarks, type MangleClaim } from './claims.js';
import { clearMangle } from './mangle.js';
import { listObjects } from './nft-list.js';
import { differenceOf, isEmptyMangle, type ListedObject } from './nft-listing.js';
import {
  type Command,
  deleteCommands,
  mendCommands,
  type NftDifference,
  type NftTable,
  replaceCommands,
} from './nft-table.js';
import { type Answer, type RefusedTable, refusalOf, tryCommands } from './refused-table.js';
import { ALL_REPAIRS, type RepairGate } from './repairs.js';

/** Each costs every packet a little, and the kernel takes 1,024 chains at a hook (MAX_HOOK_COUNT). */
const KEPT_CHAINS = 32;

/** The mangle table that iptables-nft keeps, as listTables names it. */
export function mangleTable(family: Family): string {
  return family === 4 ? 'ip mangle' : 'ip6 mangle';
}

export interface AppliedTables {
  /** Names of the tables that were changed. */
  readonly changed: readonly string[];
  /** Optional tables that nft refused; they are as they were. */
  readonly refused: readonly RefusedTable[];
}

/**
 * Make all of `wanted` what the kernel holds, in one transaction. A table is made anew only where it is missing or beyond
 * repair, or one before it is: the kernel lists tables in the order of their making. Of the others chains and sets stay,
 * and only rules and elements that differ are filled in anew.
 * @param keepHooks  whether packets may wait in a queue that must not be lost: chains that are not wanted any more are
 *                   then emptied and stand on, up to KEPT_CHAINS of a table
 * @throws KernelError, with nothing changed; it names the table that nft refuses
 */
export async function applyTables(
  run: Run,
  wanted: readonly NftTable[],
  listed: ReadonlySet<string>,
  keepHooks: boolean,
  gate: RepairGate = ALL_REPAIRS,
): Promise<AppliedTables> {
  const changes: TableChange[] = [];
  const differences = await tableDifferences(run, wanted, listed);
  let anew = false;
  for (const [index, table] of wanted.entries()) {
    const difference = anew ? 'beyond repair' : differences[index]!;
    const keep =
      keepHooks && difference !== 'beyond repair' && difference.surplus.chains.length <= KEPT_CHAINS;
    const commands =
      difference === 'beyond repair' ? replaceCommands(table) : mendCommands(table.name, difference, keep);
    if (commands.length === 0 || !gate.allows(`table inet ${table.name}`)) continue;
    if (difference === 'beyond repair') anew = true;
    changes.push({ table, commands });
  }
  const refused = await executeChanges(run, changes);
  const left = new Set(refused.map(({ name }) => name));
  const changed = changes.filter(({ table }) => !left.has(table.name));
  return { changed: changed.map(({ table }) => `table inet ${table.name}`), refused };
}

interface TableChange {
  readonly table: NftTable;
  readonly commands: readonly Command[];
}

/** All in one transaction, or all but the optional tables that nft refuses. @returns these */
async function executeChanges(run: Run, changes: readonly TableChange[]): Promise<RefusedTable[]> {
  if (changes.length === 0) return [];
  const whole = await send(run, changes);
  if (whole.exitCode === 0) return [];
  const refused: RefusedTable[] = [];
  for (const { table, commands } of changes) {
    const answer = await tryCommands(run, commands);
    if (answer.exitCode !== 0) refused.push(await refusalOf(run, table, answer));
  }
  const needed = refused.filter(({ optional }) => !optional);
  if (needed.length > 0) throw new KernelError(needed.map(({ message }) => message).join('; '));
  const left = new Set(refused.map(({ name }) => name));
  const rest = changes.filter(({ table }) => !left.has(table.name));
  if (rest.length === 0) return refused;
  // Each was accepted by itself: the refusal is about all of them.
  const last = rest.length === changes.length ? whole : await send(run, rest);
  if (last.exitCode !== 0) {
    throw new KernelError(`nft -j -f -: exit code ${last.exitCode}: ${last.stderr.trim()}`);
  }
  return refused;
}

function send(run: Run, changes: readonly TableChange[]): Promise<Answer> {
  const input = JSON.stringify({ nftables: changes.flatMap(({ commands }) => commands) });
  return run('nft', ['-j', '-f', '-'], { input, allowFailure: true });
}

/** How each of `wanted` differs from what the kernel holds. */
export function tableDifferences(
  run: Run,
  wanted: readonly NftTable[],
  listed: ReadonlySet<string>,
): Promise<(NftDifference | 'beyond repair')[]> {
  return Promise.all(
    wanted.map(async table =>
      differenceOf(listed.has(`inet ${table.name}`) ? await listTable(run, table.name) : [], table),
    ),
  );
}

/** Delete those of `tables` (names of family inet) that are listed, in one transaction. */
export async function removeTables(
  run: Run,
  tables: readonly string[],
  listed: ReadonlySet<string>,
): Promise<void> {
  const present = tables.filter(name => listed.has(`inet ${name}`));
  if (present.length > 0) {
    await execute(run, deleteCommands(present));
  }
}

/** Our rules in one family's mangle table, and the table itself if we made it and it holds nothing else. */
export async function removeMangle(run: Run, claim: MangleClaim, listed: ReadonlySet<string>): Promise<void> {
  const table = mangleTable(claim.family);
  if (!listed.has(table)) {
    return;
  }
  await clearMangle(run, claim.family, claimedMarks([claim]));
  if (!claim.created) return;
  const objects = await listObjects(run, ['table', ...table.split(' ')]);
  if (objects !== null && isEmptyMangle(objects)) {
    await run('nft', ['delete', 'table', ...table.split(' ')]);
  }
}

/** Objects of a table of ours; none, so that it is made again, if it went since it was listed or has a flag. */
async function listTable(run: Run, name: string): Promise<ListedObject[]> {
  try {
    return (await listObjects(run, ['table', 'inet', name])) ?? [];
  } catch (error) {
    if (!(error instanceof KernelError) || !(await hasFlags(run, name))) throw error;
    // Ours has none. nft 1.0.6 prints broken JSON of a table that has one.
    return [];
  }
}

async function hasFlags(run: Run, name: string): Promise<boolean> {
  const { stdout } = await run('nft', ['-t', 'list', 'table', 'inet', name]);
  return stdout.startsWith(`table inet ${name} {\n\tflags `);
}

export async function execute(run: Run, commands: readonly Command[]): Promise<void> {
  await run('nft', ['-j', '-f', '-'], { input: JSON.stringify({ nftables: commands }) });
}
