/** Lists the rules of other programs, and reviews them. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Run } from '../../programs/command.js';
import { KernelError } from '../../types/errors.js';
import { listLegacy, type SavedTables, type UnknownTables } from '../legacy.js';
import { TABLES } from '../nft.js';
import { listRuleset } from '../nft-list.js';
import type { WantedKernel } from '../wanted.js';
import { type Findings, MOST_RULES, Review, type Steered } from './findings.js';
import { type ForeignChain, readLegacy, readRuleset } from './netfilter.js';
import { findingText } from './text.js';

export interface ForeignReport extends Findings {
  /** One line for each finding, and one if not all rules were looked at. */
  readonly warnings: readonly string[];
}

/** Lines of one report; more are counted. */
const MOST_WARNINGS = 20;
/** Below the time after which a program is reported to hang. A set without a name costs nft 1 to 3 ms. */
const BOUND_MS = 8000;

export class ForeignRules {
  private former: { readonly key: string; readonly report: ForeignReport } | null = null;

  constructor(private readonly run: Run) {}

  /** Rules that cannot be listed are a warning. */
  async review(wanted: WantedKernel, steered: Steered): Promise<ForeignReport> {
    try {
      return await this.listed(wanted, steered);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      const warnings = [`rules of other programs could not be listed: ${error.message}`];
      return { findings: this.former?.report.findings ?? [], isCapped: false, warnings };
    }
  }

  /** @throws KernelError */
  private async listed(wanted: WantedKernel, steered: Steered): Promise<ForeignReport> {
    // Without the elements of sets, which may be many.
    const ruleset = await listRuleset(this.run, ['-a', '-s', '-t'], BOUND_MS);
    const legacy = (await Promise.all(([4, 6] as const).map(family => listLegacy(this.run, family)))).filter(
      listed => listed !== null,
    );
    const { vips, interfaces, targets, markMask } = wanted;
    const marks = targets.map(({ fwmark }) => fwmark);
    const key = JSON.stringify([
      ruleset,
      legacy.map(withoutCounts),
      vips,
      interfaces,
      marks,
      markMask,
      steered,
    ]);
    if (this.former?.key === key) return this.former.report;
    const chains: ForeignChain[] = [
      ...(await readRuleset(ruleset, nextTurn)),
      ...legacy.flatMap(listed =>
        'saved' in listed ? readLegacy(listed.saved, listed.program, listed.family === 4 ? 'ip' : 'ip6') : [],
      ),
    ];
    const own = new Set(TABLES.map(name => `table inet ${name}`));
    const findings = await new Review(wanted, steered, own, nextTurn).of(chains);
    const unknown = legacy.filter(listed => 'reason' in listed);
    const report = { ...findings, warnings: warningsOf(findings, unknown) };
    this.former = { key, report };
    return report;
  }
}

/** Counts change with each packet. */
function withoutCounts(listed: SavedTables | UnknownTables): string {
  if ('reason' in listed) return listed.reason;
  return `${listed.program}\n${listed.saved.replace(/^#.*$/gm, '').replace(/\[\d+:\d+\]/g, '')}`;
}

function warningsOf({ findings, isCapped }: Findings, unknown: readonly UnknownTables[]): string[] {
  const lines = findings.map(findingText);
  const more = lines.length - MOST_WARNINGS;
  return [
    ...unknown.map(
      ({ program, tables, reason }) =>
        `rules of ${program} (tables ${tables.join(', ')}) could not be listed: ${reason}`,
    ),
    ...lines.slice(0, MOST_WARNINGS),
    ...(more > 0 ? [`${more} more rules of other programs can touch packets to VIPs`] : []),
    ...(isCapped
      ? [`only the first ${MOST_RULES} rules of other programs that packets to VIPs can meet were looked at`]
      : []),
  ];
}
