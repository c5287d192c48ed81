/**
 * Watches packets on their way out: those that the guard drops, and those that got a mark and never left this host. The
 * second sees loss after the decision whatever its cause.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { verdictCounts } from '../core/counters.js';
import type { ImageStore } from '../core/image.js';
import type { GuardReading } from '../kernel/guard.js';
import type { Config, Family } from '../types/config.js';
import type { Log } from './log.js';

/** Between two readings; each starts one program. */
const PERIOD_MS = 10_000;
/** From the count of decisions to that of departures: what was decided has left by then. */
const SETTLE_MS = 50;
/** A warning stays for so many periods without a reason for it. */
const QUIET_PERIODS = 3;
/** So few packets are lost for ordinary reasons: they are too old, too big, or met a route that went. */
const USUAL_PACKETS = 20;
const USUAL_SHARE = 0.01;

/** What was counted around one moment. */
export interface PassageReading extends GuardReading {
  /** Packets that a target was chosen for: before and after the guard's counters were read. */
  readonly decidedBefore: number;
  readonly decidedAfter: number;
}

/** What happened between two readings. */
export interface Passage {
  readonly dropped: Readonly<Record<Family, number>>;
  /** Packets that a target was chosen for, at least; null: the ruleset changed, so nothing can be said. */
  readonly decided: number | null;
  readonly left: number;
  /** More than usual; else 0. */
  readonly lost: number;
}

/** Counters that fell back started from 0 again: the table is new. */
export function passageBetween(before: PassageReading, now: PassageReading): Passage {
  const grown = (former: number, current: number) => (current >= former ? current - former : current);
  const dropped = {
    4: grown(before.dropped[4], now.dropped[4]),
    6: grown(before.dropped[6], now.dropped[6]),
  };
  const left = grown(before.left, now.left);
  if (before.changes !== now.changes) return { dropped, decided: null, left, lost: 0 };
  const decided = Math.max(0, now.decidedBefore - before.decidedAfter);
  const missing = decided - left;
  const lost = missing > Math.max(USUAL_PACKETS, decided * USUAL_SHARE) ? missing : 0;
  return { dropped, decided, left, lost };
}

/** A warning that keeps its words, and so its one line in the log, while its reason lasts. */
export class LastingWarning {
  private quiet = 0;
  line: string | null = null;

  /** @param line null: no reason in this period */
  period(line: string | null): void {
    this.quiet = line === null ? this.quiet + 1 : 0;
    this.line ??= line;
    if (this.quiet >= QUIET_PERIODS) this.line = null;
  }
}

export interface GuardWatchOptions {
  readonly log: Log;
  /** null: the guard does not exist. */
  readonly read: () => Promise<GuardReading | null>;
  /** Packets that a target was chosen for, since the start. */
  readonly decided: () => number;
  readonly warn: (lines: readonly string[]) => void;
  readonly periodMs?: number;
  readonly settleMs?: number;
}

export class GuardWatch {
  /** Since the daemon started. */
  readonly dropped: Record<Family, number> = { 4: 0, 6: 0 };
  left = 0;
  lost = 0;
  private before: PassageReading | null = null;
  private readonly unmarked = new LastingWarning();
  private readonly missing = new LastingWarning();
  private failing = false;
  private readonly stopped = new AbortController();
  private ended: Promise<void> = Promise.resolve();

  constructor(private readonly options: GuardWatchOptions) {}

  /** Warnings that hold now. */
  get lines(): string[] {
    return [this.unmarked.line, this.missing.line].filter(line => line !== null);
  }

  start(): void {
    this.ended = this.watch();
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    await this.ended;
  }

  private async watch(): Promise<void> {
    const { log, periodMs = PERIOD_MS } = this.options;
    const { signal } = this.stopped;
    while (!signal.aborted) {
      try {
        await this.look();
        this.failing = false;
      } catch (error) {
        if (!signal.aborted && !this.failing)
          log.error({ err: error }, "the guard's counters could not be read");
        this.failing = true;
      }
      await delay(periodMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  private async look(): Promise<void> {
    const { read, decided, warn, settleMs = SETTLE_MS } = this.options;
    const { signal } = this.stopped;
    const decidedBefore = decided();
    await delay(settleMs, undefined, { signal, ref: false });
    const reading = await read();
    if (signal.aborted) return;
    if (reading === null) return;
    const now = { ...reading, decidedBefore, decidedAfter: decided() };
    if (this.before !== null) this.take(passageBetween(this.before, now), warn);
    this.before = now;
  }

  private take({ dropped, decided, left, lost }: Passage, warn: GuardWatchOptions['warn']): void {
    const seconds = (this.options.periodMs ?? PERIOD_MS) / 1000;
    this.dropped[4] += dropped[4];
    this.dropped[6] += dropped[6];
    this.left += left;
    this.lost += lost;
    const unmarked = dropped[4] + dropped[6];
    this.unmarked.period(
      unmarked === 0 || decided === null
        ? null
        : `${unmarked} packets to a VIP had none of our marks and were dropped within ${seconds} s. Another program takes ` +
            'them before the queue, or changes their mark. `magmark diff` names its rules',
    );
    this.missing.period(
      lost === 0
        ? null
        : `${lost} of ${decided} packets to a VIP got a target's mark and did not leave this host within ${seconds} s. Look ` +
            'for rules that drop in forward (`nft list ruleset`, `iptables-nft -S FORWARD`), and for missing routes',
    );
    warn(this.lines);
  }
}

/** Packets that a target was chosen for; those of other marks are counted where a stream has that mark. */
export function decidedPackets({ core, memory }: ImageStore, workers: number, config: Config): number {
  const { Reason } = core;
  const isStreams = (mark: number | null) =>
    mark !== null &&
    config.streams.some(
      ({ fwmarkOffset, maxTargets }) => mark > fwmarkOffset && mark <= fwmarkOffset + maxTargets,
    );
  const reasons = new Set<number>([
    Reason.Ok,
    ...(isStreams(config.noFlowFwmark) ? [Reason.NoFlow] : []),
    ...(isStreams(config.noTargetsFwmark) ? [Reason.NoTarget] : []),
  ]);
  let packets = 0;
  for (let worker = 0; worker < workers; worker++)
    for (const count of verdictCounts(core, memory, worker))
      if (count.verdict === 'accept' && reasons.has(count.reason)) packets += count.packets;
  return packets;
}
