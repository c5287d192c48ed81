/** Looks at the kernel: what others changed there is mended, and what was found is kept for whoever decides when to look again. */
import { prefixText } from '../config/address.js';
import type { AddOutcome, Kernel } from '../kernel/kernel.js';
import { lostVipText } from '../kernel/local-route.js';
import { Repairs } from '../kernel/repairs.js';
import type { NextHop, WantedKernel } from '../kernel/wanted.js';
import type { Config } from '../types/config.js';
import { BLACKHOLE_TABLE, EGRESS_TABLE } from '../types/marks.js';
import { Forgotten } from './forgotten.js';
import { Keeper } from './keeper.js';
import type { Log } from './log.js';
import { type CountedTarget, NeighbourProbe } from './neighbour-probe.js';
import type { Service } from './service.js';
import type { Tally } from './tally.js';
import { KERNEL_STEP_MS, type Turn } from './turns.js';
import type { Warnings } from './warnings.js';

export interface MenderOptions {
  readonly log: Log;
  /** Aborted: nothing is mended any more. */
  readonly stop: AbortSignal;
  readonly kernel: Kernel;
  readonly service: Service;
  readonly warnings: Warnings;
  readonly tally: Tally;
  /** That is in force. */
  readonly config: () => Config;
  readonly wanted: (config: Config) => WantedKernel;
  /** Write the applied ruleset for people. @returns warnings */
  readonly keepRuleset: (config: Config) => Promise<string[]>;
  /** All of the configuration that is in force. */
  readonly targets: () => Iterable<CountedTarget>;
  readonly withdrawUnserved: () => void;
  /** Rules of other programs may have changed. */
  readonly onForeign: () => void;
  /** A look is a change like others: one after the other. */
  readonly inTurn: <Result>(name: string, change: (turn: Turn) => Promise<Result>) => Promise<Result>;
}

export class Mender {
  private readonly keeper: Keeper;
  readonly repairs = new Repairs();
  private readonly probe: NeighbourProbe;
  private readonly forgotten = new Forgotten();
  /** VIPs that main was last asked about, as one text. */
  private mainVips = '';

  constructor(private readonly options: MenderOptions) {
    const { log, tally, inTurn, targets } = options;
    const one = <Result>(name: string, work: () => Promise<Result>) =>
      inTurn('repair', turn => turn.step(name, work, KERNEL_STEP_MS));
    this.keeper = new Keeper({
      log,
      check: inspect => inTurn('repair', turn => tally.looks.count(() => this.check(turn, inspect))),
      ask: hops => one('neighbours', () => this.ask(hops, 'ask')),
      verify: hops => one('neighbours', () => this.verify(hops)),
      restore: hops => one('neighbours', () => this.restore(hops, 'ask')),
      askAnew: hops => one('neighbours', () => this.restore(hops, 'askAnew')),
      reviewMain: () => one("main's routes", () => this.reviewMain()),
      onForeign: this.options.onForeign,
    });
    this.probe = new NeighbourProbe({
      log,
      targets,
      probe: (hops, before) => one('neighbours', () => this.probeNeighbours(hops, before)),
    });
  }

  /** Look now, and whenever there is a reason. */
  start(): void {
    this.keeper.start();
    this.probe.start();
    this.look();
  }

  /** A look soon. */
  look(): void {
    this.keeper.look(0);
  }

  stop(): Promise<void> {
    this.probe.stop();
    return this.keeper.stop();
  }

  /** What a change of configuration found, or a look. */
  keep({ pending, hops, gateways, missing, warnings, forgotten, lost }: AddOutcome): void {
    const config = this.options.config();
    this.options.warnings.find({ look: [...missing, ...warnings], local: lost.map(lostVipText) });
    this.forgotten.add(forgotten);
    const targets = config.streams.flatMap(stream => stream.targets.map(target => target.fwmark));
    const tables = new Set([
      ...targets,
      BLACKHOLE_TABLE,
      ...(config.gateways.length > 0 ? [EGRESS_TABLE] : []),
    ]);
    this.keeper.keep({ pending, hops, tables, gateways });
    this.probe.keep(hops);
  }

  /**
   * Whether main leads to the VIPs: that is not ours to mend.
   * @param unlessAsLast  take what was found last if that was about the same VIPs: a change of main is an event
   */
  async reviewMain({ unlessAsLast = false } = {}): Promise<void> {
    const { stop, kernel, warnings } = this.options;
    if (stop.aborted) return;
    const config = this.options.config();
    const vips = config.vips.map(prefixText).join(' ');
    if (!unlessAsLast || vips !== this.mainVips) {
      warnings.find({ main: await kernel.vipsWithoutRoute(config.vips) });
      this.mainVips = vips;
    }
    warnings.tell(config);
  }

  /**
   * Compare everything with the kernel, and mend what differs.
   * @param inspect routing tables to look through: of the others, the default routes alone
   */
  private async check(turn: Turn, inspect: readonly number[]): Promise<void> {
    const { stop, kernel, service, warnings } = this.options;
    if (stop.aborted) return;
    const config = this.options.config();
    const wanted = this.options.wanted(config);
    const serving = service.servingMarks(config);
    const gate = this.repairs;
    gate.beginRound();
    const outcome = await turn.step(
      'rules and routes',
      () => kernel.add(wanted, { serving, clashesAreWarnings: true, inspect, gate }),
      KERNEL_STEP_MS,
    );
    service.lost = outcome.lost;
    await turn.step('image', signal => service.review(outcome.pending, signal));
    this.options.withdrawUnserved();
    const tables = await turn.step('ruleset', () => kernel.applyRuleset(wanted, { gate }), KERNEL_STEP_MS);
    const removed = await turn.step(
      'remove rules and routes',
      () => kernel.removeStale(wanted, gate),
      KERNEL_STEP_MS,
    );
    gate.endRound();
    const mended = [...outcome.changes, ...tables, ...(removed > 0 ? [`${removed} removed`] : [])];
    if (mended.length > 0) this.count(mended);
    this.keep(outcome);
    this.reviewRepairs();
    const review = async (): Promise<void> => {
      warnings.find({
        ruleset: await this.options.keepRuleset(config),
        fragments: await kernel.tracking(wanted),
      });
      await this.reviewMain();
    };
    await turn.step('warnings', review, KERNEL_STEP_MS);
    // Last: a BIRD that hangs must not keep the kernel from being mended.
    const announce = async (): Promise<void> => {
      await service.announceServed();
      await service.judgeGateways(config, outcome);
      await service.reviewGateways();
    };
    await turn.step('announce', announce);
  }

  /** Repairs that wait, and things that others change again and again. */
  private reviewRepairs(): void {
    const { dueMs, vain } = this.repairs;
    if (dueMs !== null) this.keeper.look(dueMs);
    this.options.tally.repairs.vain = vain;
    this.options.warnings.find({ repairs: this.repairs.warnings() });
  }

  private count(mended: readonly string[]): void {
    this.options.tally.repairs.count(mended.length);
    this.options.log.warn(
      { mended: mended.slice(0, 20), changes: mended.length },
      'mended what others changed',
    );
  }

  private async ask(hops: readonly NextHop[], how: 'ask' | 'askAnew'): Promise<void> {
    const { stop, kernel, log } = this.options;
    if (stop.aborted) return;
    for (const refusal of await kernel[how](hops)) log.warn(refusal);
  }

  /** Those that do not answer at the link-layer addresses that the kernel has of them may have got others. */
  private async probeNeighbours(hops: readonly NextHop[], before: readonly NextHop[]): Promise<void> {
    const { stop, kernel, log } = this.options;
    if (stop.aborted) return;
    const silent = await kernel.probe(hops, before);
    if (silent.length === 0) return;
    const named = silent.slice(0, 20).map(({ address, device }) => `${address} dev ${device}`);
    log.warn(
      { neighbours: named, count: silent.length },
      'targets do not answer at their link-layer addresses: the kernel asks who has their addresses',
    );
    this.forgotten.add(silent);
    await this.ask(silent, 'askAnew');
  }

  /** An entry that has changed since it was listed is looked at by its event. */
  private async verify(hops: readonly NextHop[]): Promise<void> {
    if (!this.options.stop.aborted) await this.options.kernel.probe(hops, []);
  }

  /** Neighbour entries that somebody removed or changed, or that were forgotten from here: those are no repair. */
  private async restore(hops: readonly NextHop[], how: 'ask' | 'askAnew'): Promise<void> {
    await this.ask(hops, how);
    if (this.options.stop.aborted) return;
    const removed = hops.filter(hop => !this.forgotten.take(hop));
    if (how === 'askAnew') this.forgotten.add(hops);
    if (removed.length > 0) this.count(removed.map(hop => `neighbour ${hop.address} on ${hop.device}`));
  }
}
