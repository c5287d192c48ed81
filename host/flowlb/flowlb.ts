/**
 * `nfqlb flowlb`: the dataplane alone. Queues are bound and packets decided; no rule, no route, no BIRD. What it decides
 * by is told over the control socket: every change publishes a whole image, and a change that fails changes nothing.
 */
import { dirname } from 'node:path';
import { ControlServer } from '../control/server.js';
import { makeDirectory } from '../control/socket.js';
import { TraceFlows } from '../control/trace-flows.js';
import { createImages } from '../core/create.js';
import type { ImageStore } from '../core/image.js';
import type { Log } from '../daemon/log.js';
import { WorkerPool } from '../queue/pool.js';
import { routesOf } from './answers.js';
import { configOf, type Settings } from './config.js';
import { EMPTY_STATE, type State } from './state.js';

/** nfqlb's: notice. */
export const DEFAULT_LOG_LEVEL = 5;

export interface FlowLbOptions {
  readonly settings: Settings;
  readonly socketPath: string;
  readonly log: Log;
}

export class FlowLb {
  readonly startedAt = new Date();
  readonly traceFlows = new TraceFlows();
  state: State = EMPTY_STATE;
  /** syslog's number of the least severe level that is logged. */
  logLevel = DEFAULT_LOG_LEVEL;
  private turn: Promise<unknown> = Promise.resolve();
  private pool: WorkerPool | null = null;

  private constructor(
    readonly options: FlowLbOptions,
    readonly images: ImageStore,
    private readonly control: ControlServer,
  ) {}

  /** Returns once the queues are bound. It takes commands before that. @throws MagmarkError; then nothing is held */
  static async start(options: FlowLbOptions): Promise<FlowLb> {
    const { log, settings, socketPath } = options;
    makeDirectory(dirname(socketPath));
    const control = await ControlServer.start(socketPath, error =>
      log.error({ err: error }, 'control socket'),
    );
    try {
      const { images, module } = createImages(settings.queues);
      images.publish(configOf(EMPTY_STATE, settings));
      const flowLb = new FlowLb(options, images, control);
      control.routes = routesOf(flowLb);
      const { queues, queueLength, queueSpinMicroseconds, fragmentTimeoutMs, mostHeld } = settings;
      flowLb.pool = await WorkerPool.start({
        core: { module, memory: images.memory },
        queues,
        queueLength,
        spinMicroseconds: queueSpinMicroseconds,
        fragments: { timeoutMs: fragmentTimeoutMs, mostHeld },
        log,
      });
      log.info({ queues, socket: socketPath }, 'ready');
      return flowLb;
    } catch (error) {
      await control.stop();
      throw error;
    }
  }

  /**
   * One change after the other; resolves once the workers decide by it alone.
   * @throws what `next` throws, ImageError; the state is then as before
   */
  change(next: (state: State) => State): Promise<void> {
    const result = this.turn.then(async () => {
      const state = next(this.state);
      if (state === this.state) return;
      const before = new Set(this.images.current?.warnings);
      const { warnings } = this.images.publish(configOf(state, this.options.settings));
      for (const warning of warnings) if (!before.has(warning)) this.options.log.warn(warning);
      this.state = state;
      await this.images.retire();
    });
    this.turn = result.catch(() => undefined);
    return result;
  }

  /** Packets that wait in the queues are dropped by the kernel. */
  async stop(): Promise<void> {
    await this.control.stop();
    await this.turn;
    await this.pool?.stop();
    this.options.log.info('stopped');
  }
}
