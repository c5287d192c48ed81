/**
 * When to look at the kernel again: after events that concern this daemon, while something is pending, and now and then
 * in any case. What is looked at and mended is the daemon's own business.
 */

import type { GatewayReach } from '../kernel/gateway-reach.js';
import { type KernelEvent, KernelMonitor, type MonitorOptions } from '../kernel/monitor.js';
import type { NextHop, PendingTarget } from '../kernel/wanted.js';
import { addressKey } from '../types/address.js';
import type { Log } from './log.js';

export interface KeeperOptions {
  readonly log: Log;
  /**
   * Compare everything with the kernel and mend it; of tables of ours in which nothing was changed, the default routes
   * alone. @throws if that failed: it is tried again
   */
  readonly check: (inspect: readonly number[]) => Promise<void>;
  /** Have the kernel ask for these neighbours. */
  readonly ask: (hops: readonly NextHop[]) => Promise<void>;
  /** Have it ask these, whatever it believes of them. */
  readonly verify: (hops: readonly NextHop[]) => Promise<void>;
  /** As `ask`, for neighbours whose entries were removed. */
  readonly restore: (hops: readonly NextHop[]) => Promise<void>;
  /** Have it forget them first: somebody gave one of them another link-layer address. */
  readonly askAnew: (hops: readonly NextHop[]) => Promise<void>;
  /** Look where main leads to: its routes changed. */
  readonly reviewMain: () => Promise<void>;
  /** Rules of other programs may have changed. */
  readonly onForeign?: () => void;
  readonly monitor?: (options: MonitorOptions) => Pick<KernelMonitor, 'stop'>;
}

/** What the last look found. */
export interface Kept {
  readonly pending: readonly PendingTarget[];
  /** Next hops of targets that can be reached. */
  readonly hops: readonly NextHop[];
  /** Routing tables of ours. */
  readonly tables: ReadonlySet<number>;
  /** Gateways that are judged by their neighbour entries. */
  readonly gateways?: readonly GatewayReach[];
}

/** An event rarely comes alone. */
const GATHER_MS = 10;
/** Between two looks, so that a storm of events leaves the machine to the packets. */
const REST_MS = 150;
const ASK_MS = 500;
/** The kernel believes an entry for half a minute and more: with its three questions, a gateway is lost after 8 s at most. */
const VERIFY_GATEWAYS_MS = 5000;
/** While a route is refused: main's routes tell of nothing that would help. */
const RETRY_MS = 1000;
const SLOW_MS = 30_000;
/** Routes of main may come in thousands, from somebody's BGP. */
const MAIN_MS = 300;
/** A link-layer address is verified this often at most. */
const VERIFY_MS = 1000;

export class Keeper {
  private kept: Kept = { pending: [], hops: [], tables: new Set() };
  /** By `addressKey`, as all that goes by an address. */
  private hopByAddress = new Map<string, NextHop>();
  private waitedFor = new Set<string>();
  private linkAddresses = new Map<string, string>();
  /** When an address was verified last, and what it was before. */
  private verified = new Map<string, { at: number; former: string }>();
  /** Changes that come too soon after a verification: they are verified when they may. */
  private readonly verifying = new Map<string, NodeJS.Timeout>();
  private gone = new Map<string, NextHop>();
  /** Tables of ours that somebody changed, perhaps we. */
  private touched = new Set<number>();
  /** When all tables were last looked through; before any time: they are in the next look. */
  private fullAt = Number.NEGATIVE_INFINITY;
  /** What was told since the last look was kept: it may be newer than what that look listed. */
  private told = new Map<string, 'valid' | 'failed'>();
  private monitor: Pick<KernelMonitor, 'stop'> | null = null;
  private timer: NodeJS.Timeout | null = null;
  private due = Number.POSITIVE_INFINITY;
  private looking = false;
  /** Looks in a row that failed: each waits twice as long as the one before. An event does not wait. */
  private failures = 0;
  private asking: NodeJS.Timeout | null = null;
  private verifyingGateways: NodeJS.Timeout | null = null;
  /** States of the gateways' neighbour entries by `addressKey`. */
  private gatewayStates = new Map<string, GatewayReach['state']>();
  private readonly underWay = new Set<string>();
  private reviewing: NodeJS.Timeout | null = null;
  private stopped = false;

  constructor(private readonly options: KeeperOptions) {}

  /** Begin to listen; the first look comes with the first reason. */
  start(): void {
    const start = this.options.monitor ?? (options => KernelMonitor.start(options));
    this.monitor = start({
      onEvent: event => this.onEvent(event),
      onEnd: (program, how) => this.options.log.warn({ program, how }, 'a monitor of the kernel ended'),
    });
    this.look(SLOW_MS);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    if (this.asking !== null) clearInterval(this.asking);
    if (this.verifyingGateways !== null) clearInterval(this.verifyingGateways);
    if (this.reviewing !== null) clearTimeout(this.reviewing);
    for (const timer of this.verifying.values()) clearTimeout(timer);
    await this.monitor?.stop();
  }

  /** Take over what a look, or a change of configuration, found. */
  keep(kept: Kept): void {
    this.kept = kept;
    this.hopByAddress = new Map(kept.hops.map(hop => [addressKey(hop.address), hop]));
    const unresolved = kept.pending.flatMap(target => target.unresolved);
    this.waitedFor = new Set(unresolved.map(hop => addressKey(hop.address)));
    for (const known of [this.linkAddresses, this.verified])
      for (const address of known.keys())
        if (!this.hopByAddress.has(address) && !this.waitedFor.has(address)) known.delete(address);
    const { gateways = [] } = kept;
    this.gatewayStates = new Map(gateways.map(({ address, state }) => [addressKey(address), state]));
    const waits = unresolved.length > 0 || gateways.some(({ state }) => state !== 'valid');
    if (waits && this.asking === null && !this.stopped) {
      this.asking = setInterval(() => this.runOnce('ask', () => this.ask()), ASK_MS);
    } else if (!waits && this.asking !== null) {
      clearInterval(this.asking);
      this.asking = null;
    }
    if (gateways.length === 0 && this.verifyingGateways !== null) {
      clearInterval(this.verifyingGateways);
      this.verifyingGateways = null;
    } else if (gateways.length > 0 && !this.stopped) {
      this.verifyingGateways ??= setInterval(
        () => this.runOnce('verify', () => this.options.verify(this.kept.gateways ?? [])),
        VERIFY_GATEWAYS_MS,
      );
    }
    if (kept.pending.length > unresolved.length) this.look(RETRY_MS);
    const overtaken = [...this.told].some(([address, state]) =>
      state === 'valid'
        ? this.waitedFor.has(address) || this.isNews(address, state)
        : this.hopByAddress.has(address) || this.isNews(address, state),
    );
    this.told = new Map();
    if (overtaken) this.look(GATHER_MS);
  }

  /** Look in `ms` at the latest. */
  look(ms: number): void {
    const due = performance.now() + ms;
    if (this.stopped || due >= this.due) return;
    this.due = due;
    if (this.looking) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.lookNow(), ms);
  }

  private async lookNow(): Promise<void> {
    this.looking = true;
    this.due = Number.POSITIVE_INFINITY;
    const now = performance.now();
    const isFull = now - this.fullAt >= SLOW_MS;
    const inspect = isFull ? [...this.kept.tables] : [...this.touched];
    this.touched = new Set();
    if (isFull) this.fullAt = now;
    try {
      await this.options.check(inspect);
      this.failures = 0;
    } catch (error) {
      this.options.log.error({ err: error }, 'what the kernel holds could not be compared or mended');
      this.look(Math.min(RETRY_MS * 2 ** this.failures, SLOW_MS));
      this.failures += 1;
    }
    this.looking = false;
    // Reasons that came meanwhile, or the slow round.
    const wait = Math.min(this.due - performance.now(), SLOW_MS);
    this.due = Number.POSITIVE_INFINITY;
    this.look(Math.max(wait, REST_MS));
  }

  private onEvent(event: KernelEvent): void {
    switch (event.kind) {
      case 'routes':
        if (event.table !== null && this.kept.tables.has(event.table)) this.touched.add(event.table);
        if (this.concerns(event.table) || (event.table === null && event.direct)) this.look(GATHER_MS);
        else if (event.table === null) this.reviewMain();
        return;
      case 'neighbour':
        this.onNeighbour(event);
        return;
      case 'foreign':
        this.options.onForeign?.();
        return;
      default:
        // A change of our tables may be another program's rule in one of them.
        if (event.kind === 'ruleset' || event.kind === 'lost') this.options.onForeign?.();
        if (event.kind === 'lost') this.fullAt = Number.NEGATIVE_INFINITY;
        this.look(GATHER_MS);
    }
  }

  /** Main's routes through routers matter to targets only while one waits for a route. */
  private concerns(table: number | null): boolean {
    return table === null ? this.kept.pending.length > 0 : this.kept.tables.has(table);
  }

  private reviewMain(): void {
    if (this.stopped) return;
    this.reviewing ??= setTimeout(() => {
      this.reviewing = null;
      this.options.reviewMain().catch((error: Error) => {
        this.options.log.error({ err: error }, "main's routes could not be looked at");
      });
    }, MAIN_MS);
  }

  private onNeighbour(event: Extract<KernelEvent, { kind: 'neighbour' }>): void {
    if (event.state === 'valid' || event.state === 'failed') this.told.set(event.address, event.state);
    const hop = this.hopByAddress.get(event.address);
    if (event.state === 'valid' && this.waitedFor.has(event.address)) this.look(GATHER_MS);
    if (event.state !== 'resolving' && this.isNews(event.address, event.state)) this.look(GATHER_MS);
    if (hop === undefined) return;
    if (event.state === 'failed') this.look(GATHER_MS);
    if (event.state === 'gone') this.restore(event.address, hop);
    if (event.state === 'valid' && event.linkAddress !== null) {
      this.verify(event.address, hop, event.linkAddress, event.permanent);
    }
  }

  /** Whether an entry of a gateway was in another state when it was listed last. */
  private isNews(address: string, state: string): boolean {
    const listed = this.gatewayStates.get(address);
    return listed !== undefined && listed !== state;
  }

  /** An entry that somebody, or the kernel's housekeeping, removed. */
  private restore(address: string, hop: NextHop): void {
    if (this.gone.size === 0) setTimeout(() => this.restoreGone(), REST_MS);
    this.gone.set(address, hop);
  }

  private restoreGone(): void {
    const hops = [...this.gone.values()];
    this.gone = new Map();
    if (!this.stopped) this.run(this.options.restore(hops));
  }

  /** Another link-layer address may be a target that moved, or a mistake: the target itself is asked. */
  private verify(address: string, hop: NextHop, linkAddress: string, permanent: boolean): void {
    const before = this.linkAddresses.get(address);
    this.linkAddresses.set(address, linkAddress);
    if (before === undefined || before === linkAddress || permanent) return;
    const last = this.verified.get(address);
    const waitMs = last === undefined ? 0 : last.at + VERIFY_MS - performance.now();
    if (waitMs <= 0) {
      this.verifyNow(address, hop, before, linkAddress);
    } else if (linkAddress !== last!.former && !this.verifying.has(address)) {
      // The answer to a verification brings the former address back; this is another one.
      const timer = setTimeout(() => this.verifyNow(address, hop, before, linkAddress), waitMs);
      this.verifying.set(address, timer);
    }
  }

  private verifyNow(address: string, hop: NextHop, before: string, linkAddress: string): void {
    clearTimeout(this.verifying.get(address));
    this.verifying.delete(address);
    if (this.stopped) return;
    this.verified.set(address, { at: performance.now(), former: before });
    this.options.log.warn(
      { neighbour: hop.address, device: hop.device, before, now: linkAddress },
      "a target's link-layer address changed: it is asked for anew",
    );
    this.run(this.options.askAnew([hop]));
  }

  private ask(): Promise<void> {
    const silent = (this.kept.gateways ?? []).filter(({ state }) => state !== 'valid');
    return this.options.ask([...this.kept.pending.flatMap(target => target.unresolved), ...silent]);
  }

  /** Of a timer: not while the former one still waits for its turn, as after a program that hangs. */
  private runOnce(what: string, start: () => Promise<void>): void {
    if (this.underWay.has(what)) return;
    this.underWay.add(what);
    this.run(start().finally(() => this.underWay.delete(what)));
  }

  private run(asking: Promise<void>): void {
    asking.catch((error: Error) =>
      this.options.log.error({ err: error }, 'neighbours could not be asked for'),
    );
  }
}
