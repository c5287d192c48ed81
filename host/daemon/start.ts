/** From nothing, or from a daemon that runs, to a daemon that serves: what is made and taken, in order, or all given back. */
import { traceFlowRoutes } from '../control/trace-flows.js';
import { createImages } from '../core/create.js';
import type { ImageStore } from '../core/image.js';
import { Frontend } from '../frontend/frontend.js';
import { Kernel } from '../kernel/kernel.js';
import { lockNamespace } from '../lock/namespace-lock.js';
import { MetricsServer } from '../metrics/server.js';
import { WorkerPool } from '../queue/pool.js';
import { nfqlbTrace } from '../trace/nfqlb-trace.js';
import { traceRoutes } from '../trace/routes.js';
import { Tracer } from '../trace/tracer.js';
import { EnvironmentError, MagmarkError } from '../types/errors.js';
import { routesOf, shmName } from './answers.js';
import { Daemon, type DaemonOptions, type Holdings, RELOAD_PATIENCE_MS } from './daemon.js';
import { handoverRoutes } from './handover.js';
import { KeptState } from './kept-state.js';
import type { Log } from './log.js';
import { hostAddresses, isInitialNamespace, namespaceIdentity } from './namespace.js';
import { answersOf } from './observation.js';
import { Predecessor } from './predecessor.js';
import { bankBeside, refuseCoveredHosts, refuseNoNextHop } from './refusal.js';
import { Seat } from './seat.js';
import { firstConfiguration } from './source.js';
import { proceed } from './stopped.js';
import { Stopwatch } from './stopwatch.js';

/** New neighbours answer within a few ms; who does not is told as pending, and asked again. */
const PATIENCE_MS = 1000;
/** For packets that wait in our queues when the takeover that we began is given up. */
const DRAIN_MS = 5000;

/**
 * Returns once everything stands.
 * @throws MagmarkError or Stopped; the kernel is then as it was before, save what a crashed run had left
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { log, stop } = options;
  const watch = new Stopwatch();
  const undo: (() => unknown)[] = [];
  try {
    // First of all: commands that find no daemon yet see by it that one is coming.
    const starting = lockNamespace('start');
    undo.push(() => starting.release());
    const state = new KeptState(options.statePath);
    const first = await firstConfiguration(options.configFile, state);
    const { config } = first;
    if (first.kind === 'state') {
      const { path, keptAt } = state;
      log.warn({ state: path, name: first.name, keptAt }, 'no file was named: what was applied last is used');
    }
    if (isInitialNamespace() && !options.hostNamespace) {
      throw new EnvironmentError(
        "this is the host's initial network namespace, where magmark's notrack rules would switch off its connection " +
          'tracking: run it in a namespace of its own (ip netns exec NAME ...), or say --host-namespace if that is meant',
      );
    }
    const ownAddresses = await hostAddresses();
    refuseCoveredHosts(config, ownAddresses);
    refuseNoNextHop(config, ownAddresses);
    watch.lap('configuration');
    const predecessor = options.takeover ? await Predecessor.meet(options) : null;
    let seat = predecessor === null ? await Seat.take(options) : null;
    undo.push(() => seat?.leave());
    const giveBack = async () => (await predecessor?.giveBack('the takeover failed')) ?? false;
    undo.push(async () => {
      await giveBack();
      predecessor?.part();
    });
    const metrics = new MetricsServer(error => log.error({ err: error }, 'metrics'));
    undo.push(() => metrics.stop());
    // A port that is taken is told before anything is changed, unless it is the running daemon's.
    if (predecessor === null) await metrics.during(config.metrics, async () => undefined);
    const queues = predecessor === null ? config.queues : bankBeside(config.queues, predecessor.facts.queues);
    const identity = await namespaceIdentity();
    const { journalPath } = options;
    const kernel = await Kernel.open({ journalPath, identity, log, takesOver: predecessor !== null });
    watch.lap('kernel opened');
    const { images, module } = createImages(queues);
    images.publish(config);
    watch.lap('first image');
    const frontend = Frontend.open({ directory: options.frontendDirectory, log });
    undo.push(() => (predecessor === null ? frontend.stop() : frontend.leave()));
    if (predecessor !== null) await frontend.join();
    const pool = await WorkerPool.start({
      core: { module, memory: images.memory },
      queues,
      queueLength: config.queueLength,
      spinMicroseconds: config.queueSpinMicroseconds,
      markMask: config.markMask,
      fragments: { timeoutMs: config.fragmentTimeoutMs },
      log,
    });
    undo.push(() => pool.stop());
    const addresses = predecessor?.facts.addresses ?? (await hostAddresses());
    const known = predecessor?.facts.known ?? null;
    const holdings: Holdings = { seat, metrics, pool };
    const daemon = new Daemon({
      options,
      holdings,
      images,
      kernel,
      frontend,
      state,
      first,
      addresses,
      known,
    });
    undo.push(() => daemon.stopWatching());
    watch.lap('workers');
    const undoFirst = async () => {
      // Packets that wait in our queues are answered before those close.
      if (await giveBack()) await pool.drained(DRAIN_MS);
      else await kernel.removeAll();
    };
    // Neighbours of a running daemon's targets have answered before.
    const patienceMs = predecessor === null ? PATIENCE_MS : RELOAD_PATIENCE_MS;
    await daemon.begin(config, patienceMs, watch, async () => predecessor?.drain(), undoFirst);
    if (predecessor !== null) {
      // The last moment at which the other one can go on; a worker of ours answers what waits before it ends.
      if (stop.aborted) await undoFirst();
      proceed(stop);
      // From now on this daemon is the one in charge, whether the other one leaves or has died.
      await predecessor.finish();
      seat = await Seat.takeWhenFree(options, stop);
      holdings.seat = seat;
    }
    if (first.kind !== 'state') await daemon.keepFirst(first);
    metrics.answers = answersOf(daemon);
    if (predecessor !== null) await listenAfter(daemon, metrics);
    daemon.open({
      ...routesOf(daemon),
      ...tracingRoutes(daemon, images, queues.first),
      ...handoverRoutes(daemon),
    });
    starting.release();
    log.info(
      {
        carrier: kernel.carrier,
        queues,
        socket: options.socketPath,
        generation: images.current?.generation,
        ...(predecessor && { predecessor: predecessor.facts.pid }),
        milliseconds: watch.milliseconds(),
      },
      'ready',
    );
    return daemon;
  } catch (error) {
    await giveUp(undo, log);
    throw error;
  }
}

/** All steps, the last first: one that fails is no reason to leave the others. */
async function giveUp(undo: readonly (() => unknown)[], log: Log): Promise<void> {
  for (const step of undo.toReversed()) {
    try {
      await step();
    } catch (error) {
      log.error({ err: error }, 'not everything of the start that failed could be given back');
    }
  }
}

/** Metrics where the daemon that has left may have had them. Packets are served: a port that is taken is logged. */
async function listenAfter(daemon: Daemon, metrics: MetricsServer): Promise<void> {
  try {
    await metrics.during(daemon.config.metrics, async () => undefined);
  } catch (error) {
    if (!(error instanceof MagmarkError)) throw error;
    daemon.options.log.error({ reason: error.message }, 'no metrics: the next reload tries again');
  }
}

function tracingRoutes({ options, traceFlows }: Daemon, images: ImageStore, firstQueue: number) {
  const tracer = new Tracer({ images, firstQueue });
  return {
    ...traceRoutes(tracer, images.core.Limit.ReadBytes, error =>
      options.log.error({ err: error }, 'the place of a reader of traces could not be freed'),
    ),
    ...traceFlowRoutes(traceFlows, nfqlbTrace(tracer, shmName)),
  };
}
