/**
 * The daemon: one wanted state, brought about in one order whether it starts, reloads or repairs. Changes are made one
 * after the other; a change that fails leaves what ran before.
 */
import { existsSync, mkdirSync } from 'node:fs';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import { readConfig } from '../config/file.js';
import { configWarnings, coveredHosts } from '../config/resolve.js';
import { ControlServer } from '../control/server.js';
import { ImageStore, memoryBytes } from '../core/image.js';
import { compileCore, createMemory, instantiateCore } from '../core/wasm.js';
import { Kernel } from '../kernel/kernel.js';
import type { PendingTarget } from '../kernel/wanted.js';
import { WorkerPool } from '../queue/pool.js';
import type { Config, Stream, Target } from '../types/config.js';
import { ConfigError, EnvironmentError, MagmarkError } from '../types/errors.js';
import { answersOf } from './answers.js';
import type { Log } from './log.js';
import { hostAddresses, isInitialNamespace, lockNamespace, namespaceIdentity } from './namespace.js';
import { wantedKernel } from './wanted.js';

export interface DaemonOptions {
  readonly configFile: string;
  readonly socketPath: string;
  readonly journalPath: string;
  /** Work in the machine's initial network namespace. */
  readonly hostNamespace: boolean;
  /** Aborted: a change under way ends after its present step, and none begins. */
  readonly stop: AbortSignal;
  readonly log: Log;
}

/** How often targets whose routes were refused are tried again. */
const PENDING_RETRY_MS = 1000;

/** A change was ended by `DaemonOptions.stop`; what it did is taken back or about to be removed. */
export class Stopped extends Error {}

/** What is taken before the kernel is changed, and given back last. */
interface Holdings {
  readonly lock: Server;
  readonly control: ControlServer;
  readonly pool: WorkerPool;
}

export class Daemon {
  readonly startedAt = new Date();
  pending: readonly PendingTarget[] = [];
  warnings: readonly string[] = [];
  private retry: NodeJS.Timeout | null = null;
  private turn: Promise<unknown> = Promise.resolve();
  private waitingReload: Promise<void> | null = null;

  private constructor(
    readonly options: DaemonOptions,
    private readonly holdings: Holdings,
    readonly images: ImageStore,
    readonly kernel: Kernel,
  ) {}

  /**
   * Start and return once everything stands.
   * @throws MagmarkError or Stopped; the kernel is then as it was before, save what a crashed run had left
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { log } = options;
    const config = readConfig(options.configFile);
    if (isInitialNamespace() && !options.hostNamespace) {
      throw new EnvironmentError(
        "this is the host's initial network namespace, where magmark's notrack rules would switch off its connection " +
          'tracking: run it in a namespace of its own (ip netns exec NAME ...), or say --host-namespace if that is meant',
      );
    }
    refuseCoveredHosts(config);
    const undo: (() => unknown)[] = [];
    try {
      const lock = await lockNamespace();
      undo.push(() => lock.close());
      makeRunDirectory(dirname(options.journalPath));
      makeRunDirectory(dirname(options.socketPath));
      const control = await ControlServer.start(options.socketPath, error =>
        log.error({ err: error }, 'control socket'),
      );
      undo.push(() => control.stop());
      const identity = await namespaceIdentity();
      const kernel = await Kernel.open({ journalPath: options.journalPath, identity, log });
      const { images, module } = createImages(config);
      images.publish(config);
      const core = { module, memory: images.memory };
      const { queues, queueLength } = config;
      const pool = await WorkerPool.start({ core, queues, queueLength, log });
      undo.push(() => pool.stop());
      const daemon = new Daemon(options, { lock, control, pool }, images, kernel);
      await daemon.applyOrUndo(config, () => kernel.removeAll());
      control.answers = answersOf(daemon);
      log.info(
        {
          carrier: kernel.carrier,
          queues,
          socket: options.socketPath,
          generation: images.current?.generation,
        },
        'ready',
      );
      return daemon;
    } catch (error) {
      for (const step of undo.reverse()) await step();
      throw error;
    }
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
      const former = this.config;
      try {
        const config = readConfig(configFile);
        refuseCoveredHosts(config);
        refuseRestartOnly(former, config);
        await this.applyOrUndo(config, () => this.apply(former));
      } catch (error) {
        if (error instanceof Stopped) return;
        const faults = (error as Error).message.split('\n');
        if (error instanceof MagmarkError)
          log.error({ file: configFile, code: error.code, faults }, 'reload refused');
        else log.error({ file: configFile, faults, err: error }, 'reload refused');
        return;
      }
      log.info({ file: configFile, generation: this.images.current?.generation }, 'reloaded');
    });
    return this.waitingReload;
  }

  /**
   * Stop steering, end the workers, remove everything that was made.
   * @returns whether nothing is left; what could not be removed is logged and stays in the journal
   */
  stop(): Promise<boolean> {
    return this.inTurn(async () => {
      const { lock, control, pool } = this.holdings;
      const { log } = this.options;
      if (this.retry !== null) clearTimeout(this.retry);
      await control.stop();
      let clean = true;
      // Rules and routes outlive the workers: a verdict that is still on its way must find its target's route.
      for (const step of [
        () => this.kernel.removeRuleset(),
        () => pool.stop(),
        () => this.kernel.removeAll(),
      ]) {
        try {
          await step();
        } catch (error) {
          clean = false;
          log.error({ faults: (error as Error).message.split('\n') }, 'not everything could be removed');
        }
      }
      lock.close();
      log.info({ clean }, 'stopped');
      return clean;
    });
  }

  /**
   * The way of every change: adds precede, removals follow, so that no packet is ever without a route.
   * Routes first, then the image that marks for them, then the ruleset; what is unwanted goes when no worker uses it.
   */
  private async apply(config: Config): Promise<void> {
    const wanted = wantedKernel(config);
    this.proceed();
    const { pending, warnings } = await this.kernel.add(wanted);
    this.proceed();
    await this.publish(config, pending);
    await this.kernel.applyRuleset(wanted);
    this.proceed();
    await this.images.retire();
    await this.kernel.removeStale(wanted);
    const before = new Set(this.warnings);
    this.warnings = [...configWarnings(config), ...warnings];
    for (const warning of this.warnings) if (!before.has(warning)) this.options.log.warn(warning);
    this.retryPending();
  }

  /** @throws Stopped if nothing further shall be done */
  private proceed(): void {
    if (this.options.stop.aborted) throw new Stopped('stopped');
  }

  /** Apply, or go back: `undo` runs before the error is passed on. */
  private async applyOrUndo(config: Config, undo: () => Promise<void>): Promise<void> {
    try {
      await this.apply(config);
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

  private async publish(config: Config, pending: readonly PendingTarget[]): Promise<void> {
    const marks = new Set(pending.map(target => target.fwmark));
    for (const target of pending) {
      if (this.pending.some(before => before.fwmark === target.fwmark && before.reason === target.reason))
        continue;
      this.options.log.warn(
        { target: target.label, reason: target.reason },
        'target is pending: it takes no traffic',
      );
    }
    // A change that failed may have left a former image behind.
    await this.images.retire();
    this.images.publish(config, (_stream: Stream, target: Target) => !marks.has(target.fwmark));
    this.pending = pending;
  }

  /** Try pending targets again for as long as there are any. */
  private retryPending(): void {
    if (this.retry !== null) clearTimeout(this.retry);
    this.retry = null;
    if (this.pending.length === 0 || this.options.stop.aborted) return;
    this.retry = setTimeout(() => {
      this.inTurn(() => this.checkPending()).catch((error: Error) => {
        this.options.log.error({ err: error }, 'pending targets could not be tried again');
        this.retryPending();
      });
    }, PENDING_RETRY_MS);
  }

  private async checkPending(): Promise<void> {
    if (this.options.stop.aborted) return;
    const { config, pending: before } = this;
    const { pending } = await this.kernel.add(wantedKernel(config));
    const marks = (targets: readonly PendingTarget[]) => targets.map(target => target.fwmark).join(',');
    if (marks(before) !== marks(pending)) {
      await this.publish(config, pending);
      await this.images.retire();
      const still = new Set(pending.map(target => target.fwmark));
      for (const target of before) {
        if (!still.has(target.fwmark))
          this.options.log.info({ target: target.label }, 'target is no longer pending');
      }
    }
    this.retryPending();
  }

  /** One change after the other. */
  private inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(change);
    this.turn = result.catch(() => undefined);
    return result;
  }
}

/** One level: what is above it must be there. @throws EnvironmentError that names it */
function makeRunDirectory(directory: string): void {
  if (existsSync(directory)) return;
  try {
    mkdirSync(directory, { mode: 0o755 });
  } catch (error) {
    throw new EnvironmentError(`${directory} cannot be made: ${(error as Error).message}`);
  }
}

function createImages(config: Config): { images: ImageStore; module: WebAssembly.Module } {
  const module = compileCore();
  const workers = config.queues.last - config.queues.first + 1;
  const region = instantiateCore(module, createMemory(0x100000));
  const memory = createMemory(memoryBytes(region, workers));
  return { images: new ImageStore(instantiateCore(module, memory), memory, workers), module };
}

function refuseCoveredHosts(config: Config): void {
  const own = hostAddresses().map(ip => ({ ip, owner: 'this host' }));
  const gateways = config.gateways.flatMap(gateway =>
    gateway.ips.map(ip => ({ ip, owner: `gateway ${gateway.name}` })),
  );
  const targets = config.streams.flatMap(stream =>
    stream.targets.flatMap(target =>
      target.ips.map(ip => ({ ip, owner: `target ${stream.name}/${target.identifier}` })),
    ),
  );
  const faults = coveredHosts(config, [...own, ...gateways, ...targets]);
  if (faults.length > 0) throw new ConfigError(faults);
}

/** What a running daemon cannot change: its queues are bound and their lengths set. */
function refuseRestartOnly(former: Config, config: Config): void {
  const faults: string[] = [];
  const text = ({ queues }: Config) => `${queues.first}:${queues.last}`;
  if (text(former) !== text(config))
    faults.push(`queues: ${text(config)} takes effect at the next start; ${text(former)} are bound now`);
  if (former.queueLength !== config.queueLength) {
    faults.push(
      `queueLength: ${config.queueLength} takes effect at the next start; it is ${former.queueLength} now`,
    );
  }
  if (faults.length > 0) throw new ConfigError(faults);
}
