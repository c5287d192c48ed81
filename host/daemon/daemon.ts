/**
 * The daemon: one wanted state, brought about in one order whether it starts, reloads or repairs. Changes are made one
 * after the other; a change that fails leaves what ran before.
 */
import { mkdirSync } from 'node:fs';
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
  readonly log: Log;
}

/** How often targets whose routes were refused are tried again. */
const PENDING_RETRY_MS = 1000;

export class Daemon {
  readonly startedAt = new Date();
  pending: readonly PendingTarget[] = [];
  warnings: readonly string[] = [];
  private control: ControlServer | null = null;
  private retry: NodeJS.Timeout | null = null;
  private turn: Promise<unknown> = Promise.resolve();
  private stopping = false;

  private constructor(
    readonly options: DaemonOptions,
    private readonly lock: Server,
    readonly images: ImageStore,
    readonly kernel: Kernel,
    readonly pool: WorkerPool,
  ) {}

  /**
   * Start and return once everything stands.
   * @throws MagmarkError; the kernel is then as it was before, save what a crashed run had left
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
    const lock = await lockNamespace();
    let pool: WorkerPool | null = null;
    try {
      mkdirSync(dirname(options.journalPath), { recursive: true, mode: 0o755 });
      const kernel = await Kernel.open({
        journalPath: options.journalPath,
        identity: await namespaceIdentity(),
        log,
      });
      const { images, module } = createImages(config);
      images.publish(config);
      pool = await WorkerPool.start({
        core: { module, memory: images.memory },
        queues: config.queues,
        queueLength: config.queueLength,
        log,
      });
      const daemon = new Daemon(options, lock, images, kernel, pool);
      await daemon.applyOrUndo(config, () => kernel.removeAll());
      await daemon.openControl();
      log.info(
        {
          carrier: kernel.carrier,
          queues: config.queues,
          socket: options.socketPath,
          generation: images.current?.generation,
        },
        'ready',
      );
      return daemon;
    } catch (error) {
      await pool?.stop();
      lock.close();
      throw error;
    }
  }

  /** The configuration that is in force. */
  get config(): Config {
    return this.images.current!.config;
  }

  /** Read the file again and bring it about; a fault changes nothing and is logged. */
  reload(): Promise<void> {
    return this.inTurn(async () => {
      const { log, configFile } = this.options;
      const former = this.config;
      try {
        const config = readConfig(configFile);
        refuseCoveredHosts(config);
        refuseRestartOnly(former, config);
        await this.applyOrUndo(config, () => this.apply(former));
      } catch (error) {
        if (!(error instanceof MagmarkError)) throw error;
        log.error(
          { file: configFile, code: error.code, faults: error.message.split('\n') },
          'reload refused',
        );
        return;
      }
      log.info({ file: configFile, generation: this.images.current?.generation }, 'reloaded');
    });
  }

  /** Stop steering, remove everything that was made, end the workers. */
  stop(): Promise<void> {
    this.stopping = true;
    return this.inTurn(async () => {
      if (this.retry !== null) clearTimeout(this.retry);
      await this.control?.stop();
      await this.kernel.removeAll();
      await this.pool.stop();
      this.lock.close();
      this.options.log.info('stopped');
    });
  }

  /**
   * The way of every change: adds precede, removals follow, so that no packet is ever without a route.
   * Routes first, then the image that marks for them, then the ruleset; what is unwanted goes when no worker uses it.
   */
  private async apply(config: Config): Promise<void> {
    const wanted = wantedKernel(config);
    const { pending, warnings } = await this.kernel.add(wanted);
    this.publish(config, pending);
    await this.kernel.applyRuleset(wanted);
    await this.images.retire();
    await this.kernel.removeStale(wanted);
    const before = new Set(this.warnings);
    this.warnings = [...configWarnings(config), ...warnings];
    for (const warning of this.warnings) if (!before.has(warning)) this.options.log.warn(warning);
    this.retryPending();
  }

  /** Apply, or go back: `undo` runs before the error is passed on. */
  private async applyOrUndo(config: Config, undo: () => Promise<void>): Promise<void> {
    try {
      await this.apply(config);
    } catch (error) {
      await this.images.retire();
      try {
        await undo();
      } catch (undoError) {
        this.options.log.error(
          { err: undoError },
          'the former state could not be brought back; the next change tries again',
        );
      }
      throw error;
    }
  }

  private publish(config: Config, pending: readonly PendingTarget[]): void {
    const marks = new Set(pending.map(target => target.fwmark));
    for (const target of pending) {
      if (this.pending.some(before => before.fwmark === target.fwmark && before.reason === target.reason))
        continue;
      this.options.log.warn(
        { target: target.label, reason: target.reason },
        'target is pending: it takes no traffic',
      );
    }
    this.images.publish(config, (_stream: Stream, target: Target) => !marks.has(target.fwmark));
    this.pending = pending;
  }

  /** Try pending targets again for as long as there are any. */
  private retryPending(): void {
    if (this.retry !== null) clearTimeout(this.retry);
    this.retry = null;
    if (this.pending.length === 0 || this.stopping) return;
    this.retry = setTimeout(() => {
      this.inTurn(() => this.checkPending()).catch((error: Error) => {
        this.options.log.error({ err: error }, 'pending targets could not be tried again');
        this.retryPending();
      });
    }, PENDING_RETRY_MS);
  }

  private async checkPending(): Promise<void> {
    if (this.stopping) return;
    const { config, pending: before } = this;
    const { pending } = await this.kernel.add(wantedKernel(config));
    const marks = (targets: readonly PendingTarget[]) => targets.map(target => target.fwmark).join(',');
    if (marks(before) !== marks(pending)) {
      this.publish(config, pending);
      await this.images.retire();
      const still = new Set(pending.map(target => target.fwmark));
      for (const target of before) {
        if (!still.has(target.fwmark))
          this.options.log.info({ target: target.label }, 'target is no longer pending');
      }
    }
    this.retryPending();
  }

  private async openControl(): Promise<void> {
    const { socketPath, log } = this.options;
    try {
      this.control = await ControlServer.start(socketPath, answersOf(this), error => {
        log.error({ err: error }, 'control socket');
      });
    } catch (error) {
      await this.kernel.removeAll();
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
