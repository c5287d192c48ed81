/**
 * The daemon: one wanted state, brought about in one order whether it starts, reloads or repairs. Changes are made one
 * after the other; a change that fails leaves what ran before.
 */

import {
  type ConfigChanges,
  configChanges,
  configurationDifferences,
  shortChanges,
} from '../config/changes.js';
import { readText } from '../config/file.js';
import { loadConfig } from '../config/load.js';
import type { Routes } from '../control/server.js';
import { TraceFlows } from '../control/trace-flows.js';
import type { ImageStore } from '../core/image.js';
import { targetKey } from '../core/image-parts.js';
import type { Frontend } from '../frontend/frontend.js';
import { readPasswords } from '../frontend/password.js';
import type { InterfaceAddress } from '../frontend/router-id.js';
import type { Ahead, Kernel } from '../kernel/kernel.js';
import type { WantedKernel } from '../kernel/wanted.js';
import type { MetricsServer } from '../metrics/server.js';
import { programs } from '../programs/running.js';
import type { WorkerPool } from '../queue/pool.js';
import type { Config } from '../types/config.js';
import type { Difference } from '../types/difference.js';
import { ConfigError, MagmarkError } from '../types/errors.js';
import { ForeignWatch } from './foreign-watch.js';
import { decidedPackets, GuardWatch } from './guard-watch.js';
import type { KeptState } from './kept-state.js';
import type { Log } from './log.js';
import { Mender } from './mender.js';
import { hostAddresses } from './namespace.js';
import type { CountedTarget } from './neighbour-probe.js';
import { refuseCoveredHosts, refuseNoNextHop, refuseRestartOnly } from './refusal.js';
import { RulesetFile } from './ruleset-file.js';
import type { Seat } from './seat.js';
import { type KnownService, Service } from './service.js';
import { type Found, found, type Source } from './source.js';
import { proceed, Stopped } from './stopped.js';
import { Stopwatch } from './stopwatch.js';
import { Tally } from './tally.js';
import { KERNEL_STEP_MS, type Turn, Turns } from './turns.js';
import { wantedKernel } from './wanted.js';
import { Warnings } from './warnings.js';

export interface DaemonOptions {
  /** null: none was named. */
  readonly configFile: string | null;
  /** What was applied last is kept there. */
  readonly statePath: string;
  readonly socketPath: string;
  readonly journalPath: string;
  /** The applied ruleset as text is written there. */
  readonly rulesetPath: string;
  /** A second place for it, where the configuration names none; null: there is no second place. */
  readonly rulesetFile: string | null;
  /** For the files of BIRD. */
  readonly frontendDirectory: string;
  /** Work in the machine's initial network namespace. */
  readonly hostNamespace: boolean;
  /** Take over from the daemon that answers on the control socket. */
  readonly takeover: boolean;
  /** Called when another daemon has taken over and nothing is held any more. */
  readonly onLeft: () => void;
  /** Called when a stop has taken longer than it may. */
  readonly onStopLate: () => void;
  /** Aborted: a change under way ends after its present step, and none begins. */
  readonly stop: AbortSignal;
  readonly log: Log;
  /** Of this process, whatever its configuration is. */
  readonly process: ProcessFacts;
}

export interface ProcessFacts {
  /** Those that hold now. */
  warnings(): readonly string[];
  readonly internalErrors: number;
}

/** New neighbours answer within a few ms; who does not is told as pending, and asked again. */
export const RELOAD_PATIENCE_MS = 200;
/** A program or a step that takes this long is a warning. */
export const SLOW_MS = 5000;
/** How long a stop may take after `shutdownDelay`: container engines wait for 10 s. */
const STOP_MS = 8000;
/** 10,000 targets took 17 to 19 s; the kernel's cost of a rule is the most of it. */
const STOP_MS_PER_TARGET = 3;
/** Of the time that is left, when the stop is asked for again. */
const HURRY = 4;
const TAKEOVER = 'takeover';
/** Programs of a change that is under way when the stop begins. */
const PRESENT_MS = 1000;
/** The log has a program that met its bound before the stop itself is given up. */
const LATE_MS = 500;

/** Under way while a configuration is read. */
interface AskedAhead {
  readonly listing: Ahead;
  readonly addresses: Promise<InterfaceAddress[]>;
}

/** What is taken before the kernel is changed, and given back last. */
export interface Holdings {
  /** null while the daemon that this one takes over from still has it. */
  seat: Seat | null;
  readonly metrics: MetricsServer;
  readonly pool: WorkerPool;
}

/** What a start has made, or taken over from another daemon. */
export interface DaemonParts {
  readonly options: DaemonOptions;
  readonly holdings: Holdings;
  /** The image of `first` is published. */
  readonly images: ImageStore;
  readonly kernel: Kernel;
  readonly frontend: Frontend;
  readonly state: KeptState;
  readonly first: Found;
  /** Of the host, for the router id. */
  readonly addresses: readonly InterfaceAddress[];
  /** null: nothing was handed over. */
  readonly known: KnownService | null;
}

export class Daemon {
  readonly startedAt = new Date();
  readonly service: Service;
  readonly tally = new Tally();
  /** What `GET /v1/trace-text` tells of. */
  readonly traceFlows = new TraceFlows();
  readonly warnings: Warnings;
  readonly guardWatch: GuardWatch;
  readonly foreignWatch: ForeignWatch;
  source: Source;
  /** Of the last reload or `apply` that took effect: names of what differs from before; null: none yet. */
  lastChanges: Partial<ConfigChanges> | null = null;
  /** Of the file, as it was read last; null: it was never read, or could not be. */
  fileText: string | null = null;
  readonly options: DaemonOptions;
  readonly images: ImageStore;
  readonly kernel: Kernel;
  readonly frontend: Frontend;
  readonly state: KeptState;
  private readonly holdings: Holdings;
  private readonly mender: Mender;
  private readonly rulesetFile: RulesetFile;
  private readonly hurry = new AbortController();
  private readonly turns = new Turns();
  /** By `performance.now()`. */
  private stopBy = Number.POSITIVE_INFINITY;
  private stopTimer: NodeJS.Timeout | undefined;
  private waitingReload: Promise<Error | null> | null = null;

  constructor(parts: DaemonParts) {
    const { options, holdings, images, kernel, frontend, state, first, addresses, known } = parts;
    const { log } = options;
    this.options = options;
    this.holdings = holdings;
    this.images = images;
    this.kernel = kernel;
    this.frontend = frontend;
    this.state = state;
    this.source = { kind: first.kind, name: first.name, at: this.startedAt };
    this.warnings = new Warnings(log, () => [
      ...programs.slow(SLOW_MS),
      ...this.turns.slow(SLOW_MS),
      ...this.tally.warnings(),
      ...options.process.warnings(),
    ]);
    if (first.kind === 'file') this.fileText = first.text;
    const onHealth = () => this.onHealth();
    const { warnings } = this;
    this.service = new Service({
      log,
      images,
      frontend,
      warnings,
      addresses,
      onHealth,
      ...(known && { known }),
    });
    frontend.onChange = () => {
      warnings.find({ gateways: frontend.state().warnings });
      if (images.current !== null) warnings.tell(this.config);
    };
    this.guardWatch = new GuardWatch({
      log,
      read: () => kernel.readGuard(),
      decided: () => this.decidedPackets(),
      warn: passage => {
        warnings.find({ passage });
        warnings.tell(this.config);
      },
    });
    this.rulesetFile = new RulesetFile(options.rulesetPath);
    this.foreignWatch = new ForeignWatch({
      log,
      wanted: () => this.wanted(this.config),
      review: wanted => kernel.reviewForeign(wanted),
      warn: foreign => {
        warnings.find({ foreign });
        warnings.tell(this.config);
      },
    });
    this.mender = new Mender({
      log,
      stop: options.stop,
      kernel,
      service: this.service,
      warnings: this.warnings,
      tally: this.tally,
      config: () => this.config,
      wanted: config => this.wanted(config),
      keepRuleset: config => this.keepRuleset(config),
      onForeign: () => this.foreignWatch.look(),
      targets: () => this.countedTargets(),
      withdrawUnserved: () => this.withdrawUnserved(),
      inTurn: (name, change) => this.turns.take(name, change),
    });
  }

  /**
   * The first change. If it fails, `undo` runs before the error is passed on.
   * @param onSteered  called when the ruleset leads to this daemon's queues
   */
  begin(
    config: Config,
    patienceMs: number,
    watch: Stopwatch,
    onSteered: () => Promise<void>,
    undo: () => Promise<void>,
  ): Promise<void> {
    return this.turns.take('start', turn => {
      const first = async () => {
        await turn.step('size', () => this.service.refuseTooLarge(config));
        await this.apply(turn, config, patienceMs, watch, onSteered);
      };
      return this.orUndo(first, () => turn.step('undo', undo, KERNEL_STEP_MS));
    });
  }

  /** What the first change brought about is kept for a start without a file. */
  keepFirst(first: Found): Promise<void> {
    return this.turns.take('start', turn => this.keepState(turn, first));
  }

  /** Answer on the control socket, and look at the kernel from now on: before, a look could bring back what a start that fails removes. */
  open(routes: Routes): void {
    const { seat } = this.holdings;
    if (seat !== null) seat.control.routes = routes;
    this.mender.start();
    this.guardWatch.start();
    this.foreignWatch.look();
  }

  get pool(): WorkerPool {
    return this.holdings.pool;
  }

  /** The configuration that is in force. */
  get config(): Config {
    return this.images.current!.config;
  }

  /**
   * Read the file again and bring it about; a fault changes nothing and is logged. Who asks while another reload waits
   * gets that one: it will read the same file.
   * @returns null: it is in force; else why not
   */
  reload(): Promise<Error | null> {
    this.waitingReload ??= this.turns.take('reload', async turn => {
      this.waitingReload = null;
      const { log, configFile, stop } = this.options;
      if (stop.aborted) return new Stopped();
      const watch = new Stopwatch();
      try {
        const ahead = this.askAhead();
        await this.tally.reloads.count(async () => {
          if (configFile === null) {
            throw new ConfigError(['no file was named at the start: magmark apply FILE brings one about']);
          }
          this.fileText = null;
          this.fileText = await turn.step('read the file', () => readText(configFile));
          const next = found('file', configFile, this.fileText);
          watch.lap('configuration');
          await this.change(turn, next, ahead, watch);
        });
      } catch (error) {
        if (error instanceof Stopped) return error;
        const faults = (error as Error).message.split('\n');
        if (error instanceof MagmarkError)
          log.error({ file: configFile, code: error.code, faults }, 'reload refused');
        else log.error({ file: configFile, faults, err: error }, 'reload refused');
        const more = faults.length === 1 ? '' : ` (and ${faults.length - 1} more faults)`;
        this.warnings.find({ refused: [`the last reload was refused: ${faults[0]}${more}`] });
        this.warnings.tell(this.config);
        return error as Error;
      }
      const { generation } = this.images.current!;
      log.info(
        { file: configFile, generation, ...this.lastChanges, milliseconds: watch.milliseconds() },
        'reloaded',
      );
      return null;
    });
    return this.waitingReload;
  }

  /** What keeps the file from being watched. */
  warnWatch(lines: readonly string[]): void {
    this.warnings.find({ watch: lines });
    this.warnings.tell(this.config);
  }

  /** Whether the file holds something else than when it was read last; one that is gone does. */
  async fileDiffers(): Promise<boolean> {
    const { configFile } = this.options;
    return configFile !== null && (await textOrNull(configFile)) !== this.fileText;
  }

  /**
   * Bring `text` about in place of the file, until the file is read again.
   * @param name for messages
   * @throws MagmarkError, and what ran before goes on
   */
  applyText(text: string, name: string): Promise<void> {
    return this.turns.take('apply', async turn => {
      this.proceed();
      const watch = new Stopwatch();
      const ahead = this.askAhead();
      await this.tally.reloads.count(async () => this.change(turn, found('apply', name, text), ahead, watch));
      const { generation } = this.images.current!;
      this.options.log.info(
        { name, generation, ...this.lastChanges, milliseconds: watch.milliseconds() },
        'applied',
      );
    });
  }

  /**
   * What the kernel lacks, and holds too much, for the configuration that is in force; changes nothing. Of another one
   * also how it differs from the one in force.
   * @param text  a configuration to ask about in its place
   * @throws ConfigError if that has faults, KernelError
   */
  compare(text: string, name: string): Promise<Difference[]> {
    return this.turns.one(
      'compare',
      async () => {
        if (text === '') return this.kernel.compare(this.wanted(this.config));
        const config = loadConfig(text, name);
        const addresses = await hostAddresses();
        refuseCoveredHosts(config, addresses);
        refuseNoNextHop(config, addresses);
        refuseRestartOnly(this.config, config);
        return [
          ...configurationDifferences(configChanges(this.config, config)),
          ...(await this.kernel.predictInactive(this.wanted(config))),
          ...(await this.kernel.compare(this.wanted(config))),
        ];
      },
      KERNEL_STEP_MS,
    );
  }

  /** What a change needs of the kernel whatever it is: asked for before its text is read, the two side by side. */
  private askAhead(): AskedAhead {
    const listing = this.kernel.listAhead();
    const addresses = hostAddresses();
    // Whoever awaits it is told, unless the text is refused before.
    addresses.catch(() => undefined);
    return { listing, addresses };
  }

  private async change(turn: Turn, next: Found, ahead: AskedAhead, watch: Stopwatch): Promise<void> {
    const former = this.config;
    const { config, kind, name } = next;
    const addresses = await turn.step('addresses', () => ahead.addresses);
    refuseCoveredHosts(config, addresses);
    refuseNoNextHop(config, addresses);
    refuseRestartOnly(former, config);
    await turn.step('size', () => this.service.refuseTooLarge(config));
    watch.lap('refusals');
    try {
      await this.holdings.metrics.during(config.metrics, () =>
        this.orUndo(
          () => this.apply(turn, config, RELOAD_PATIENCE_MS, watch, undefined, ahead.listing),
          () => this.apply(turn, former, RELOAD_PATIENCE_MS, watch),
        ),
      );
    } finally {
      // What a change takes as it was last time is compared with the kernel now.
      this.mender.look();
      this.foreignWatch.look();
    }
    this.source = { kind, name, at: new Date() };
    this.lastChanges = shortChanges(configChanges(former, config));
    await this.keepState(turn, next);
    watch.lap('kept');
  }

  private async keepState(turn: Turn, { name, text }: Found): Promise<void> {
    await turn.step('keep the state', () => this.state.keep({ name, text, at: this.source.at }));
    this.warnings.find({ refused: [], kept: this.state.warnings });
    this.warnings.tell(this.config);
  }

  /** How long a stop may take, `shutdownDelay` besides. */
  get stopLimitMs(): number {
    const { streams } = this.config;
    return STOP_MS + STOP_MS_PER_TARGET * streams.reduce((sum, { targets }) => sum + targets.length, 0);
  }

  /**
   * The stop was asked for again: `shutdownDelay` ends, a change that has its turn is given up, and what is to be removed has
   * a quarter of its time.
   */
  stopAtOnce(): void {
    this.hurry.abort();
    if (this.turns.change !== 'stop') this.turns.giveUpPresent('was given up for the stop');
    this.limitStop(this.stopLimitMs / HURRY);
  }

  /** What the kernel still holds of this daemon, for a message. */
  left(): { readonly left: readonly string[]; readonly during: readonly string[] } {
    return { left: this.kernel.claimed(), during: [...this.turns.slow(0), ...programs.slow(0)] };
  }

  /**
   * Withdraw the VIPs and go on forwarding for the configured while; then stop steering, end the workers, and remove
   * everything that was made. A program that hangs holds up neither the withdrawal nor the steps after its own.
   * @returns whether nothing is left; what could not be removed is logged and stays in the journal
   */
  stop(): Promise<boolean> {
    const { shutdownDelayMs, gateways } = this.config;
    const limitMs = (gateways.length === 0 ? 0 : shutdownDelayMs) + this.stopLimitMs;
    let withdrawn: Promise<void> | null = null;
    // A takeover that is under way has limits of its own, and BIRD is the other one's business while it lasts.
    if (this.turns.change !== TAKEOVER) {
      this.limitStop(limitMs);
      // Those of a change under way: what it did is removed next.
      programs.endPresent(PRESENT_MS);
      // Waited for below: whatever has its turn now keeps no VIP announced.
      withdrawn = this.service.withdraw(this.hurry.signal);
      withdrawn.catch(() => undefined);
    }
    return this.turns.take('stop', async turn => {
      if (withdrawn === null) this.limitStop(limitMs);
      const { metrics, pool, seat } = this.holdings;
      const { log } = this.options;
      let clean = true;
      // Rules and routes outlive the workers: a verdict that is still on its way must find its target's route.
      for (const [name, step] of [
        ['end the monitors', () => this.stopWatching()],
        ['withdraw', () => withdrawn ?? this.service.withdraw(this.hurry.signal)],
        ['end metrics', () => metrics.stop()],
        ['end the control socket', async () => seat?.endControl()],
        ['remove the ruleset', () => this.kernel.removeRuleset()],
        [
          'remove the ruleset file',
          async () => {
            for (const warning of await this.rulesetFile.remove()) log.warn(warning);
          },
        ],
        ['end the workers', () => pool.stop()],
        ['remove rules and routes', () => this.kernel.removeAll()],
        // Last: while rules led there, answers found its routes.
        ['end BIRD', () => this.frontend.stop()],
      ] as const) {
        try {
          await turn.step(name, step, limitMs);
        } catch (error) {
          clean = false;
          log.error(
            { step: name, faults: (error as Error).message.split('\n') },
            'not everything could be removed',
          );
        }
      }
      clearTimeout(this.stopTimer);
      seat?.unlock();
      log.info({ clean, ...(clean ? {} : { left: this.kernel.claimed() }) }, 'stopped');
      return clean;
    });
  }

  /** Programs share what is left of the time; `onStopLate` is called when it is over. */
  private limitStop(ms: number): void {
    const at = performance.now() + ms;
    programs.endBy(at);
    if (at >= this.stopBy) return;
    this.stopBy = at;
    clearTimeout(this.stopTimer);
    this.stopTimer = setTimeout(this.options.onStopLate, ms + LATE_MS);
  }

  /**
   * Wait for the present change, and make no other until `release` is called.
   * @returns release
   */
  holdTurn(): Promise<() => void> {
    return new Promise(resolve => {
      void this.turns.take(TAKEOVER, () => new Promise<void>(release => resolve(release)));
    });
  }

  /** Another daemon has taken over: let go of everything, and leave what was made in the kernel to it. */
  async leave(): Promise<void> {
    await this.stopWatching();
    await this.frontend.leave();
    await this.holdings.metrics.stop();
    this.holdings.seat?.leave();
    await this.pool.stop();
    this.options.log.info('left: another magmark has taken over');
  }

  /**
   * A takeover that had begun came to nothing: whatever it changed, the state of this daemon is wanted again.
   * @param otherAnswers  the other one still answers the packets of its queues
   */
  async goOn(reason: string, otherAnswers: boolean): Promise<void> {
    const { config } = this;
    const { log } = this.options;
    log.warn({ reason }, 'the takeover came to nothing: going on');
    const wanted = this.wanted(config);
    try {
      await this.kernel.reopen();
      // It may have removed rules and routes that our marks need. Where nobody answers its queues they come second, by the look.
      if (otherAnswers) {
        const serving = this.service.servingMarks(config);
        this.mender.keep(await this.kernel.add(wanted, { serving, clashesAreWarnings: true }));
      }
      await this.kernel.applyRuleset(wanted, { keepsMarks: true });
    } catch (error) {
      log.error({ err: error }, 'the ruleset could not be taken back; it is tried again');
    }
    try {
      await this.frontend.resume();
    } catch (error) {
      log.error({ err: error }, "BIRD's file could not be taken back; it is tried again");
    }
    this.mender.look();
  }

  /** No look and no health check any more. */
  async stopWatching(): Promise<void> {
    await Promise.all([
      this.mender.stop(),
      this.guardWatch.stop(),
      this.foreignWatch.stop(),
      this.service.health.stop(),
    ]);
  }

  /**
   * The way of every change: adds precede, removals follow, so that no packet is ever without a route.
   * Routes first, then the image that marks for them, then the ruleset, then the VIPs are announced; what is unwanted
   * goes when no worker uses it, and a VIP that goes is withdrawn before anything else.
   * @param onSteered  called when the ruleset leads to this daemon's queues
   */
  private async apply(
    turn: Turn,
    config: Config,
    patienceMs: number,
    watch: Stopwatch,
    onSteered: () => Promise<void> = async () => {},
    ahead?: Ahead,
  ): Promise<void> {
    const wanted = this.wanted(config);
    this.mender.repairs.forget();
    this.proceed();
    // Passwords that cannot be read are a fault before anything is changed.
    await turn.step('read passwords', () => readPasswords(config.gateways));
    await turn.step('withdraw', () => this.service.withdrawMissing(config));
    watch.lap('withdrawn');
    const serving = this.service.servingMarks(config);
    const lap = (part: string) => watch.lap(part);
    const outcome = await turn.step(
      'rules and routes',
      () => this.kernel.add(wanted, { serving, patienceMs, ahead, lap }),
      KERNEL_STEP_MS,
    );
    this.proceed();
    this.service.lost = outcome.lost;
    await turn.step('image', signal => this.service.publish(config, outcome.pending, signal));
    watch.lap('image');
    await turn.step(
      'ruleset',
      () => this.kernel.applyRuleset(wanted, { unlessAsLast: true, keepsMarks: true }),
      KERNEL_STEP_MS,
    );
    watch.lap('ruleset');
    this.proceed();
    await turn.step('steered', onSteered, KERNEL_STEP_MS);
    watch.lap('steered');
    this.proceed();
    await turn.step('retire the image', () => this.images.retire());
    await turn.step('judge gateways', () => this.service.judgeGateways(config, outcome));
    await turn.step('announce', () => this.service.announce());
    watch.lap('announced');
    await turn.step('remove rules and routes', () => this.kernel.removeStale(wanted), KERNEL_STEP_MS);
    watch.lap('removed');
    this.mender.keep(outcome);
    await turn.step(
      'warnings',
      async () => {
        this.warnings.find({
          ruleset: await this.keepRuleset(config),
          fragments: await this.kernel.tracking(wanted),
        });
        await this.mender.reviewMain({ unlessAsLast: true });
      },
      KERNEL_STEP_MS,
    );
    watch.lap('warnings');
  }

  /** Write the applied ruleset for people. @returns warnings about it, and about its files */
  private async keepRuleset(config: Config): Promise<string[]> {
    const { kernel, rulesetFile } = this;
    const second = config.rulesetFile ?? this.options.rulesetFile;
    return [...kernel.rulesetWarnings, ...(await rulesetFile.keep(kernel.rulesetText, second))];
  }

  private wanted(config: Config): WantedKernel {
    return wantedKernel(config, this.pool.queues);
  }

  /** Packets that a target was chosen for and whose verdict the kernel took. */
  private decidedPackets(): number {
    const { images, config } = this;
    const queues = this.pool.statistics();
    const refused = queues.reduce((sum, { shim }) => sum + shim.verdictErrors, 0);
    return decidedPackets(images, queues.length, config) - refused;
  }

  private *countedTargets(): Iterable<CountedTarget> {
    for (const stream of this.config.streams) {
      for (const target of stream.targets) {
        const label = targetKey(stream, target);
        yield { label, ips: target.ips, packets: this.images.targetCounters.read(label) };
      }
    }
  }

  private onHealth(): void {
    this.withdrawUnserved();
    this.turns
      .take('health', async turn => {
        if (this.options.stop.aborted) return;
        await turn.step('image', signal => this.service.review(undefined, signal));
        await turn.step('announce', () => this.service.announceServed());
      })
      .catch((error: Error) => {
        this.options.log.error({ err: error }, 'a change of health could not be applied');
        this.mender.look();
      });
  }

  /** Waited for by nobody: neither an nft that hangs may keep a VIP announced, nor a BIRD that hangs the kernel as it is. */
  private withdrawUnserved(): void {
    if (this.options.stop.aborted) return;
    this.service.withdrawUnserved().catch((error: Error) => {
      this.options.log.error({ err: error }, 'VIPs that nobody serves could not be withdrawn');
    });
  }

  /** @throws Stopped if nothing further shall be done */
  private proceed(): void {
    proceed(this.options.stop);
  }

  /** Apply, or go back: `undo` runs before the error is passed on. */
  private async orUndo(apply: () => Promise<void>, undo: () => Promise<void>): Promise<void> {
    try {
      await apply();
    } catch (error) {
      try {
        await undo();
      } catch (undoError) {
        // Once it is stopped there is no former state to go back to: everything is removed next.
        if (!(undoError instanceof Stopped)) {
          this.options.log.error(
            { err: undoError },
            'the former state could not be brought back; the next change tries again',
          );
        }
      }
      throw error;
    }
  }
}

/** null: it cannot be read. */
async function textOrNull(file: string): Promise<string | null> {
  try {
    return await readText(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return null;
  }
}
