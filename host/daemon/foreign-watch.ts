/** When rules of other programs are looked at, and what was found: they are warnings. Nothing of theirs is changed. */
import type { ForeignReport } from '../kernel/foreign/list.js';
import type { WantedKernel } from '../kernel/wanted.js';
import type { Log } from './log.js';

export interface ForeignWatchOptions {
  readonly log: Log;
  readonly wanted: () => WantedKernel;
  readonly review: (wanted: WantedKernel) => Promise<ForeignReport>;
  /** Called with each report's lines. */
  readonly warn: (lines: readonly string[]) => void;
}

/** A change of rules rarely comes alone. */
const GATHER_MS = 300;
/** Between two reviews: programs that change rules all the time are looked at this often. */
const REST_MS = 2000;
/** A rest is so many times as long as the review before: nft takes seconds for a ruleset of thousands of sets. */
const LEAST_REST = 10;
/** The kernel reports no changes of iptables-legacy. */
const SLOW_MS = 30_000;

export class ForeignWatch {
  /** Of the last review; empty before the first. */
  report: Pick<ForeignReport, 'findings' | 'warnings'> = { findings: [], warnings: [] };
  private timer: NodeJS.Timeout | null = null;
  private due = Number.POSITIVE_INFINITY;
  /** The next review is not before. */
  private earliest = 0;
  private reviewing = false;
  private stopped = false;

  constructor(private readonly options: ForeignWatchOptions) {}

  /** Review soon: rules of others may have changed, or what is wanted. */
  look(ms = GATHER_MS): void {
    const due = Math.max(performance.now() + ms, this.earliest);
    if (this.stopped || due >= this.due) return;
    this.due = due;
    if (this.reviewing) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.review(), due - performance.now());
  }

  /** A review under way changes nothing, so a stop does not wait for it. */
  stop(): void {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private async review(): Promise<void> {
    this.reviewing = true;
    this.due = Number.POSITIVE_INFINITY;
    const { log, wanted, review, warn } = this.options;
    const began = performance.now();
    try {
      this.report = await review(wanted());
    } catch (error) {
      // Not the kernel's words: a fault of ours. The next review comes all the same.
      log.error({ err: error }, 'rules of other programs could not be read');
    }
    const ended = performance.now();
    this.earliest = ended + Math.max(REST_MS, LEAST_REST * (ended - began));
    this.reviewing = false;
    if (this.stopped) return;
    warn(this.report.warnings);
    const wait = Math.min(this.due - ended, SLOW_MS);
    this.due = Number.POSITIVE_INFINITY;
    this.look(wait);
  }
}
