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
import type { Frontend } from '../frontend/frontend.js';
import { readPasswords } from '../frontend/password.js';
import type { InterfaceAddress } from '../frontend/router-id.js';
import type { Ahead, Kernel } from '../kernel/kernel.js';
import type { WantedKernel } from '../kernel/wanted.js';
import type { MetricsServer } from '../metrics/server.js';
import type { WorkerPool } from '../queue/pool.js';
import type { Config } from '../types/config.js';
import type { Difference } from '../types/difference.js';
import { ConfigError, MagmarkError } from '../types/errors.js';
import { decidedPackets, GuardWatch } from './guard-watch.js';
import type { KeptState } from './kept-state.js';
import type { Log } from './log.js';
import { Mender } from './mender.js';
import { hostAddresses } from './namespace.js';
import { refuseCoveredHosts, refuseNoNextHop, refuseRestartOnly } from './refusal.js';
import { RulesetFile } from './ruleset-file.js';
import type { Seat } from './seat.js';
import { type KnownService, Service } from './service.js';
import { type Found, found, type Source } from './source.js';
import { proceed, Stopped } from './stopped.js';
import { Stopwatch } from './stopwatch.js';
import { Tally } from './tally.js';
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
  /** For the files of BIRD. */
  readonly frontendDirectory: string;
  /** Work in the machine's initial network namespace. */
  readonly hostNamespace: boolean;
  /** Take over from the daemon that answers on the control socket. */
  readonly takeover: boolean;
  /** Called when another daemon has taken over and nothing is held any more. */
  readonly onLeft: () => void;
  /** Aborted: a change under way ends after its present step, and none begins. */
  readonly stop: AbortSignal;
  readonly log: Log;
}

/** New neighbours answer within a few ms; who does not is told as pending, and asked again. */
export const RELOAD_PATIENCE_MS = 200;

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
  private turn: Promise<unknown> = Promise.resolve();
  private waitingReload: Promise<void> | null = null;

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
    this.warnings = new Warnings(log);
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
      withdrawUnserved: () => this.withdrawUnserved(),
      inTurn: change => this.inTurn(change),
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
    const first = async () => {
      await this.service.refuseTooLarge(config);
      await this.apply(config, patienceMs, watch, onSteered);
    };
    return this.inTurn(() => this.orUndo(first, undo));
  }

  /** What the first change brought about is kept for a start without a file. */
  keepFirst(first: Found): Promise<void> {
    return this.inTurn(() => this.keepState(first));
  }

  /** Answer on the control socket, and look at the kernel from now on: before, a look could bring back what a start that fails removes. */
  open(routes: Routes): void {
    const { seat } = this.holdings;
    if (seat !== null) seat.control.routes = routes;
    this.mender.start();
    this.guardWatch.start();
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
   */
  reload(): Promise<void> {
    this.waitingReload ??= this.inTurn(async () => {
      this.waitingReload = null;
      const { log, configFile, stop } = this.options;
      if (stop.aborted) return;
      const watch = new Stopwatch();
      try {
        const ahead = this.askAhead();
        await this.tally.reloads.count(async () => {
          if (configFile === null) {
            throw new ConfigError(['no file was named at the start: magmark apply FILE brings one about']);
          }
          this.fileText = null;
          this.fileText = await readText(configFile);
          const next = found('file', configFile, this.fileText);
          watch.lap('configuration');
          await this.change(next, ahead, watch);
        });
      } catch (error) {
        if (error instanceof Stopped) return;
        const faults = (error as Error).message.split('\n');
        if (error instanceof MagmarkError)
          log.error({ file: configFile, code: error.code, faults }, 'reload refused');
        else log.error({ file: configFile, faults, err: error }, 'reload refused');
        const more = faults.length === 1 ? '' : ` (and ${faults.length - 1} more faults)`;
        this.warnings.find({ refused: [`the last reload was refused: ${faults[0]}${more}`] });
        this.warnings.tell(this.config);
        return;
      }
      const { generation } = this.images.current!;
      log.info(
        { file: configFile, generation, ...this.lastChanges, milliseconds: watch.milliseconds() },
        'reloaded',
      );
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
    return this.inTurn(async () => {
      this.proceed();
      const watch = new Stopwatch();
      const ahead = this.askAhead();
      await this.tally.reloads.count(async () => this.change(found('apply', name, text), ahead, watch));
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
    return this.inTurn(async () => {
      if (text === '') return this.kernel.compare(this.wanted(this.config));
      const config = loadConfig(text, name);
      const addresses = await hostAddresses();
      refuseCoveredHosts(config, addresses);
      refuseNoNextHop(config, addresses);
      refuseRestartOnly(this.config, config);
      return [
        ...configurationDifferences(configChanges(this.config, config)),
        ...(await this.kernel.compare(this.wanted(config))),
      ];
    });
  }

  /** What a change needs of the kernel whatever it is: asked for before its text is read, the two side by side. */
  private askAhead(): AskedAhead {
    const listing = this.kernel.listAhead();
    const addresses = hostAddresses();
    // Whoever awaits it is told, unless the text is refused before.
    addresses.catch(() => undefined);
    return { listing, addresses };
  }

  private async change(next: Found, ahead: AskedAhead, watch: Stopwatch): Promise<void> {
    const former = this.config;
    const { config, kind, name } = next;
    refuseCoveredHosts(config, await ahead.addresses);
    refuseNoNextHop(config, await ahead.addresses);
    refuseRestartOnly(former, config);
    await this.service.refuseTooLarge(config);
    watch.lap('refusals');
    try {
      await this.holdings.metrics.during(config.metrics, () =>
        this.orUndo(
          () => this.apply(config, RELOAD_PATIENCE_MS, watch, undefined, ahead.listing),
          () => this.apply(former, RELOAD_PATIENCE_MS, watch),
        ),
      );
    } finally {
      // What a change takes as it was last time is compared with the kernel now.
      this.mender.look();
    }
    this.source = { kind, name, at: new Date() };
    this.lastChanges = shortChanges(configChanges(former, config));
    await this.keepState(next);
    watch.lap('kept');
  }

  private async keepState({ name, text }: Found): Promise<void> {
    await this.state.keep({ name, text, at: this.source.at });
    this.warnings.find({ refused: [], kept: this.state.warnings });
    this.warnings.tell(this.config);
  }

  /** A stop that is under way waits for nothing any more. */
  stopAtOnce(): void {
    this.hurry.abort();
  }

  /**
   * Withdraw the VIPs and go on forwarding for the configured while; then stop steering, end the workers, and remove
   * everything that was made.
   * @returns whether nothing is left; what could not be removed is logged and stays in the journal
   */
  stop(): Promise<boolean> {
    return this.inTurn(async () => {
      const { metrics, pool, seat } = this.holdings;
      const { log } = this.options;
      let clean = true;
      // Rules and routes outlive the workers: a verdict that is still on its way must find its target's route.
      for (const step of [
        () => this.stopWatching(),
        () => this.service.withdraw(this.hurry.signal),
        () => metrics.stop(),
        () => seat?.endControl(),
        () => this.kernel.removeRuleset(),
        async () => {
          for (const warning of await this.rulesetFile.remove()) log.warn(warning);
        },
        () => pool.stop(),
        () => this.kernel.removeAll(),
        // Last: while rules led there, answers found its routes.
        () => this.frontend.stop(),
      ]) {
        try {
          await step();
        } catch (error) {
          clean = false;
          log.error({ faults: (error as Error).message.split('\n') }, 'not everything could be removed');
        }
      }
      seat?.unlock();
      log.info({ clean }, 'stopped');
      return clean;
    });
  }

  /**
   * Wait for the present change, and make no other until `release` is called.
   * @returns release
   */
  holdTurn(): Promise<() => void> {
    return new Promise(resolve => {
      void this.inTurn(() => new Promise<void>(release => resolve(release)));
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
    await Promise.all([this.mender.stop(), this.guardWatch.stop(), this.service.health.stop()]);
  }

  /**
   * The way of every change: adds precede, removals follow, so that no packet is ever without a route.
   * Routes first, then the image that marks for them, then the ruleset, then the VIPs are announced; what is unwanted
   * goes when no worker uses it, and a VIP that goes is withdrawn before anything else.
   * @param onSteered  called when the ruleset leads to this daemon's queues
   */
  private async apply(
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
    await readPasswords(config.gateways);
    await this.service.withdrawMissing(config);
    watch.lap('withdrawn');
    const serving = this.service.servingMarks(config);
    const outcome = await this.kernel.add(wanted, {
      serving,
      patienceMs,
      ahead,
      lap: part => watch.lap(part),
    });
    this.proceed();
    this.service.lost = outcome.lost;
    await this.service.publish(config, outcome.pending);
    watch.lap('image');
    await this.kernel.applyRuleset(wanted, { unlessAsLast: true, keepsMarks: true });
    watch.lap('ruleset');
    this.proceed();
    await onSteered();
    watch.lap('steered');
    this.proceed();
    await this.images.retire();
    await this.service.judgeGateways(config, outcome);
    await this.service.announce();
    watch.lap('announced');
    await this.kernel.removeStale(wanted);
    watch.lap('removed');
    this.mender.keep(outcome);
    this.warnings.find({
      ruleset: await this.keepRuleset(config),
      fragments: await this.kernel.tracking(wanted),
    });
    await this.mender.reviewMain({ unlessAsLast: true });
    watch.lap('warnings');
  }

  /** Write the applied ruleset for people. @returns warnings about it, and about its files */
  private async keepRuleset(config: Config): Promise<string[]> {
    const { kernel, rulesetFile } = this;
    return [...kernel.rulesetWarnings, ...(await rulesetFile.keep(kernel.rulesetText, config.rulesetFile))];
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

  private onHealth(): void {
    this.withdrawUnserved();
    this.inTurn(async () => {
      if (this.options.stop.aborted) return;
      await this.service.review();
      await this.service.announceServed();
    }).catch((error: Error) => {
      this.options.log.error({ err: error }, 'a change of health could not be brought about');
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

  /** One change after the other. */
  private inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(change);
    this.turn = result.catch(() => undefined);
    return result;
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
