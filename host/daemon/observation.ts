/** The daemon as metrics and health see it: what it holds in memory, and /proc. No program is started for it. */
import { prefixText } from '../config/address.js';
import {
  batchBounds,
  batchSizes,
  decisionBounds,
  decisionTimes,
  fragmentCounts,
  verdictCounts,
} from '../core/counters.js';
import type { ImageStore, ImageStream } from '../core/image.js';
import { reasonNames } from '../core/reason.js';
import type { Finding } from '../kernel/foreign/findings.js';
import type { LostVip } from '../kernel/local-route.js';
import type { Observation, QueueObservation, StreamObservation } from '../metrics/observation.js';
import type { Answers } from '../metrics/server.js';
import { programs } from '../programs/running.js';
import type { QueueStatistics } from '../queue/pool.js';
import { version } from '../version.js';
import { type Facts, judgeAlive, judgeReady } from './conditions.js';
import type { Daemon } from './daemon.js';
import { logLosses } from './log.js';
import { IDLE_CAUSES } from './serving.js';
import { targetShares } from './shares.js';

/** Far above what a program takes on a busy machine. */
const HANGS_MS = 10_000;

export function answersOf(daemon: Daemon): Answers {
  return {
    observe: () => observe(daemon),
    alive: () => judgeAlive(factsOf(daemon)),
    ready: () => judgeReady(factsOf(daemon)),
  };
}

function factsOf({
  config,
  frontend,
  options,
  pool,
  service,
  tally,
  guardWatch,
  foreignWatch,
}: Daemon): Facts {
  const targets = config.streams.reduce((sum, stream) => sum + stream.targets.length, 0);
  const { bird, sessions } = frontend.state();
  const ofBgp = sessions.filter(({ protocol }) => protocol === 'bgp');
  const fixed = sessions.filter(({ protocol }) => protocol === 'static');
  return {
    queues: pool.bindings(),
    kernelFault: tally.looks.fault,
    vainRepairs: tally.repairs.vain,
    targets: { all: targets, active: targets - service.idle.length },
    gateways:
      config.gateways.length === 0
        ? null
        : {
            birdUp: bird.status === 'running',
            sessions: ofBgp.length,
            sessionsUp: ofBgp.filter(({ up }) => up).length,
            fixed: fixed.length,
            fixedUp: fixed.filter(({ up }) => up).length,
            announced: service.announced.length,
          },
    vips: { all: config.vips.length, lost: lostOnce(service.lost) },
    passage: guardWatch.lines,
    foreign: foreignWatch.report.warnings,
    hanging: programs.slow(HANGS_MS),
    stopping: options.stop.aborted,
  };
}

/** Each VIP once that is lost as a whole. */
function lostOnce(lost: readonly LostVip[]): { vip: string; reason: string }[] {
  const reasons = new Map(
    lost.filter(({ whole }) => whole).map(({ vip, reason }) => [prefixText(vip), reason]),
  );
  return [...reasons].map(([vip, reason]) => ({ vip, reason }));
}

function observe(daemon: Daemon): Observation {
  const { config, images, tally } = daemon;
  const { core, rebuilds } = images;
  const image = images.current!;
  const { bird, sessions } = daemon.frontend.state();
  const causes = new Map(daemon.service.idle.map(({ fwmark, cause }) => [fwmark, cause]));
  const announced = new Set(daemon.service.announced.map(prefixText));
  const { looks, reloads, repairs } = tally;
  return {
    version,
    node: process.version,
    carrier: daemon.kernel.carrier,
    generation: image.generation,
    imageBytes: images.usedBytes,
    queues: daemon.pool.statistics().map((queue, worker) => queueOf(images, queue, worker)),
    batchBounds: batchBounds(core),
    decisionBounds: decisionBounds(core),
    flows: image.flows.map(({ name, flow }) => ({
      name,
      stream: flow.stream,
      matches: images.counters.read(name),
    })),
    streams: image.streams.map(stream => streamOf(images, stream, causes)),
    idleCauses: IDLE_CAUSES,
    rebuilds,
    looks: { count: looks.succeeded + looks.failed, failed: looks.failed, repairs: repairs.changes },
    reloads: {
      succeeded: reloads.succeeded,
      refused: reloads.failed,
      lastSucceeded: reloads.lastSucceeded,
      lastSuccessAt: daemon.source.at.getTime() / 1000,
    },
    bird: {
      wanted: config.gateways.length > 0,
      up: bird.status === 'running',
      restarts: bird.restarts,
    },
    sessions: sessions.map(({ gateway, address, family, protocol, up, bfd }) => ({
      gateway,
      address,
      family,
      protocol,
      up,
      bfdUp: bfd === 'none' ? null : bfd === 'up',
    })),
    vips: config.vips.map(prefixText).map(prefix => ({ prefix, announced: announced.has(prefix) })),
    passage: daemon.guardWatch,
    foreignRules: countsOf(daemon.foreignWatch.report.findings),
    warnings: daemon.warnings.lines.length,
    internalErrors: daemon.options.process.internalErrors,
    logLinesDropped: logLosses().dropped,
  };
}

/** Rules of other programs by hook and effect. */
function countsOf(findings: readonly Finding[]): Observation['foreignRules'] {
  const counts = new Map<string, Observation['foreignRules'][number]>();
  for (const { hook, effect } of findings) {
    const key = `${hook} ${effect}`;
    counts.set(key, { hook, effect, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()];
}

function queueOf({ core, memory }: ImageStore, queue: QueueStatistics, worker: number): QueueObservation {
  const { Reason } = core;
  const names = reasonNames(core);
  const fragments = fragmentCounts(core, memory, worker);
  const marked = new Set([Reason.Ok, Reason.NoFlow, Reason.NoTarget]);
  return {
    queue: queue.queue,
    bound: queue.bound,
    restarts: queue.restarts,
    // Those that can be, from 0 on.
    decided: verdictCounts(core, memory, worker)
      .filter(({ verdict, reason }) => (verdict === 'accept' ? marked.has(reason) : reason !== Reason.Ok))
      .filter(({ reason }) => reason !== Reason.NotPrime)
      .map(({ verdict, reason, packets, bytes }) => ({ verdict, reason: names[reason]!, packets, bytes })),
    batchSizes: batchSizes(core, memory, worker),
    decisions: decisionTimes(core, memory, worker),
    verdictErrors: queue.shim.verdictErrors,
    fragments: {
      tracked: fragments.tracked,
      evicted: fragments.evicted,
      followed: fragments.followed,
      held: fragments.held,
      released: fragments.released,
      'timed-out': fragments.timedOut,
      'pushed-out': fragments.pushedOut,
    },
    fragmentsHeld: fragments.waiting,
    kernel: queue.kernel,
  };
}

function streamOf(
  images: ImageStore,
  image: ImageStream,
  causes: ReadonlyMap<number, string>,
): StreamObservation {
  const { stream, tableSize } = image;
  const marks = new Map(stream.targets.map(({ identifier, fwmark }) => [identifier, fwmark]));
  return {
    name: stream.name,
    tableSize,
    targets: targetShares(images, image).map(share => ({
      ...share,
      idle: causes.get(marks.get(share.identifier)!) ?? null,
    })),
  };
}
