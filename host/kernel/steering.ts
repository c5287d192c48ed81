/** How packets come into the queues: our nftables tables, and the rules that queue where a carrier has some of its own. */
import type { Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import type { Difference } from '../types/difference.js';
import { ClashError } from '../types/errors.js';
import type { Carrier, MangleRule } from './carrier.js';
import { type Claims, claimedMarks, unitedClaims } from './claims.js';
import { mangleDifferences, tableDifference } from './difference.js';
import { admitCommands, admits, GUARD_TABLE, listAdmitted, ownMarks } from './guard.js';
import type { Journal } from './journal.js';
import { applyMangle, listMangle, type MangleListing, markOf, renderMangle } from './mangle.js';
import type { MarkRange } from './marks.js';
import { renderTables, TABLES } from './nft.js';
import { listTables } from './nft-list.js';
import type { NftTable } from './nft-table.js';
import { ALL_REPAIRS, type RepairGate } from './repairs.js';
import {
  applyTables,
  execute,
  mangleTable,
  removeMangle,
  removeTables,
  tableDifferences,
} from './ruleset.js';
import { rulesetText } from './ruleset-text.js';
import { isOwn, listTrackingRules } from './tracking.js';
import { queueMarkOf, type WantedKernel } from './wanted.js';

export interface RulesetOptions {
  /** Leave the kernel unasked if the same was wanted when it was last applied. */
  readonly unlessAsLast?: boolean;
  /** Workers may still give marks of a former configuration: the guard goes on to let them pass until `settle`. */
  readonly keepsMarks?: boolean;
  /** Asked for each table that differs; default: all are repaired. */
  readonly gate?: RepairGate;
}

export class Steering {
  /** What was wanted when it was last applied; null: that failed, or it was removed. */
  private last: string | null = null;
  /** Marks that the guard lets pass, as last written; null: not known. */
  private admitted: readonly MarkRange[] | null = null;
  /** How often the tables were changed. */
  changes = 0;

  /**
   * @param stands  false before the first ruleset of this process, unless it takes over: packets that wait then nobody
   *   answers, so none of them is to be lost
   */
  constructor(
    private readonly run: Run,
    readonly carrier: Carrier,
    private stands: boolean,
  ) {}

  /** Optional tables that nft refused, one line each: what was wanted of them, and the answer. */
  private refused: ReadonlyMap<string, { readonly asked: string; readonly message: string }> = new Map();

  /** The ruleset that was applied last, as `nft -f` reads it. */
  text = '';
  /** What `text` was made of: each check would make the same again. */
  private described = '';

  /** One line for each optional table that nft refused. */
  get warnings(): string[] {
    return [...this.refused.values()].map(({ message }) => message);
  }

  /** It may have been changed by another daemon. */
  forget(): void {
    this.last = null;
    this.refused = new Map();
    this.admitted = null;
  }

  /** @throws ClashError if a table of our name stands that is not claimed */
  async refuseForeign(claims: Claims): Promise<void> {
    refuseForeignTables(await listTables(this.run), claims);
  }

  /**
   * Has a guard that exists let the marks of `wanted` pass too. It precedes the image that gives them; `settle` follows
   * when no worker gives the former ones.
   * @throws KernelError
   */
  async admit(wanted: WantedKernel, claims: Claims): Promise<void> {
    const marks = ownMarks(wanted);
    if (!claims.tables.includes(GUARD_TABLE)) return;
    if (this.admitted !== null && admits(this.admitted, marks)) return;
    const standing = await listAdmitted(this.run);
    // It comes with the ruleset.
    if (standing === null) return;
    const united = [...standing, ...marks];
    if (!admits(standing, marks)) await this.writeAdmitted(united);
    this.admitted = united;
  }

  /** Has the guard let the marks of `wanted` alone pass. @throws KernelError */
  async settle(wanted: WantedKernel): Promise<void> {
    const marks = ownMarks(wanted);
    if (this.admitted === null || admits(marks, this.admitted)) return;
    await this.writeAdmitted(marks);
    this.admitted = marks;
  }

  /**
   * The nftables tables, in one transaction, behind the rules that queue.
   * An optional table that nft refuses is left out, with a warning; a check does not try it again, a change does.
   * @param unlessAsLast  a change: leave the kernel unasked if the same was wanted when it was last applied
   * @returns names of the tables that were changed
   * @throws ClashError, with nothing changed, if a table of our name stands that is not ours; KernelError
   */
  async apply(
    wanted: WantedKernel,
    families: readonly Family[],
    journal: Journal,
    { unlessAsLast = false, keepsMarks = false, gate = ALL_REPAIRS }: RulesetOptions = {},
  ): Promise<string[]> {
    const changed: string[] = [];
    const former: Family[] = [];
    const { queueMark } = wanted;
    const mangleRules = this.carrier.mangleRules(wanted.queues, queueMarkOf(wanted));
    const plain = renderTables(wanted, this.carrier);
    const asked = JSON.stringify([plain, mangleRules, families]);
    if (unlessAsLast && asked === this.last && this.refused.size === 0) return [];
    this.last = null;
    const queued = queueMarks(wanted, journal.claims);
    const guarded = keepsMarks && journal.claims.tables.includes(GUARD_TABLE);
    const marks = guarded ? ((await listAdmitted(this.run)) ?? []) : [];
    const kept = { reassembly: await this.keepsReassembly(wanted), marks };
    const rendered = kept.reassembly || marks.length > 0 ? renderTables(wanted, this.carrier, kept) : plain;
    const known = (table: NftTable) => {
      const before = unlessAsLast ? undefined : this.refused.get(table.name);
      return before !== undefined && before.asked === JSON.stringify(table);
    };
    const tables = rendered.filter(table => !known(table));
    const [listed, ...standing] = await Promise.all([
      listTables(this.run),
      ...(mangleRules.length > 0 ? families : []).map(family =>
        listMangle(this.run, family, mangleRules, queued),
      ),
    ]);
    refuseForeignTables(listed, journal.claims);
    const mangle = families.map(family => ({
      family,
      created: !listed.has(mangleTable(family)),
      marks: [queueMark],
    }));
    const claims = { tables: [...TABLES], mangle: mangleRules.length > 0 ? mangle : [] };
    await journal.write(unitedClaims(journal.claims, claims));
    if (mangleRules.length > 0) {
      // Before the chains that set the queue mark: a packet that bears it must find who queues it.
      // One after the other: the kernel lists tables in the order of their making.
      for (const [index, family] of families.entries()) {
        const listing = standing[index]!;
        const name = `table ${mangleTable(family)}`;
        const differs = renderMangle(listing.rules, mangleRules) !== null;
        if (!differs || !gate.allows(name)) continue;
        const others = rulesOfOthers(listing, queueMark);
        await applyMangle(this.run, family, [...mangleRules, ...others], listing, queued);
        if (others.length > 0) former.push(family);
        changed.push(name);
      }
    }
    const applied = await applyTables(this.run, tables, listed, this.stands, gate);
    changed.push(...applied.changed);
    // After the chains that set a former queue mark.
    for (const family of former) {
      const listing = await listMangle(this.run, family, mangleRules, queued);
      await applyMangle(this.run, family, mangleRules, listing, queued);
    }
    const messages = new Map(applied.refused.map(({ name, message }) => [name, message]));
    this.refused = new Map(
      rendered.flatMap(table => {
        const message = known(table) ? this.refused.get(table.name)!.message : messages.get(table.name);
        return message === undefined ? [] : [[table.name, { asked: JSON.stringify(table), message }]];
      }),
    );
    for (const name of changed) gate.repaired(name);
    const described = `${JSON.stringify([kept, [...this.refused.keys()]])} ${asked}`;
    if (described !== this.described) {
      const whole = rendered.filter(({ name }) => !this.refused.has(name));
      this.text = mangleText(mangleRules) + rulesetText(whole);
      this.described = described;
    }
    if (changed.length > 0) this.changes++;
    this.admitted = this.refused.has(GUARD_TABLE) ? null : [...marks, ...ownMarks(wanted)];
    this.stands = true;
    this.last = asked;
    return changed;
  }

  /** What `apply` would do, without doing it. @throws KernelError */
  async compare(wanted: WantedKernel, families: readonly Family[], claims: Claims): Promise<Difference[]> {
    const mangleRules = this.carrier.mangleRules(wanted.queues, queueMarkOf(wanted));
    const marks = queueMarks(wanted, claims);
    const reassembly = await this.keepsReassembly(wanted);
    const tables = renderTables(wanted, this.carrier, { reassembly, marks: [] });
    const listed = await listTables(this.run);
    const differences = await tableDifferences(this.run, tables, listed);
    const queueing = mangleRules.length > 0 ? families : [];
    const mangle = await Promise.all(
      queueing.map(family => listMangle(this.run, family, mangleRules, marks)),
    );
    return [
      ...queueing.flatMap((family, index) =>
        mangleDifferences(mangleTable(family), mangleRules, mangle[index]!.rules),
      ),
      ...tables.flatMap((table, index) =>
        tableDifference(table, differences[index]!, listed.has(`inet ${table.name}`)),
      ),
    ];
  }

  /** What is claimed of it: from now on no packet is steered. @throws KernelError */
  async remove(journal: Journal): Promise<void> {
    this.forget();
    const { claims } = journal;
    if (claims.tables.length === 0 && claims.mangle.length === 0) return;
    const listed = await listTables(this.run);
    await removeTables(this.run, claims.tables, listed);
    for (const claim of claims.mangle) await removeMangle(this.run, claim, listed);
    await journal.write({ ...journal.claims, tables: [], mangle: [] });
  }

  /**
   * The rule that has the kernel put fragments together stays while packets may wait: with the hooks that it registered they
   * would go. It does nothing where chain `pre-defrag` untracks everything.
   */
  private async keepsReassembly({ fragments }: WantedKernel): Promise<boolean> {
    return fragments === 'track' && this.stands && (await listTrackingRules(this.run)).some(isOwn);
  }

  private writeAdmitted(marks: readonly MarkRange[]): Promise<void> {
    this.changes++;
    return execute(this.run, admitCommands(marks));
  }
}

function queueMarks({ queueMark }: WantedKernel, claims: Claims): number[] {
  return [...claimedMarks(claims.mangle), queueMark];
}

/** Rules of ours for another queue mark than `mark`; none where iptables-nft does not list them. */
function rulesOfOthers({ rules, handles }: MangleListing, mark: number): MangleRule[] {
  return handles === null ? rules.filter(rule => markOf(rule) !== mark) : [];
}

/** nft lists these rules, and cannot load them. */
function mangleText(rules: readonly MangleRule[]): string {
  const lines = rules.map(({ chain, text }) => `# iptables-nft -t mangle -A ${chain} ${text}\n`);
  return lines.length === 0
    ? ''
    : `# magmark also has these rules, which nft -f cannot load:\n${lines.join('')}`;
}

function refuseForeignTables(listed: ReadonlySet<string>, claims: Claims): void {
  for (const name of TABLES) {
    if (listed.has(`inet ${name}`) && !claims.tables.includes(name)) {
      throw new ClashError(
        `nftables table inet ${name} stands and no journal of this daemon claims it: ` +
          `stop what made it, or remove it with: nft delete table inet ${name}`,
      );
    }
  }
}
