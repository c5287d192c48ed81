/** What the control socket tells of the daemon. */
import { prefixText } from '../config/address.js';
import type { ApplyReply, LogLevel, ReloadReply, ShareReply, StatusReply } from '../control/api.js';
import { Answered, RequestError, type Routes } from '../control/server.js';
import { reasonCounts } from '../core/counters.js';
import { reasonNames } from '../core/reason.js';
import type { Judgement } from '../types/health.js';
import { version } from '../version.js';
import type { Daemon } from './daemon.js';
import { explainLive } from './explain.js';
import {
  flowReplies,
  fragmentsReply,
  type ListedNames,
  nfqlbFlowReplies,
  nfqlbStreamReplies,
  slotReply,
  streamReplies,
} from './listing.js';
import { syslogLevel } from './log.js';
import { answersOf } from './observation.js';
import { targetLabel } from './serving.js';
import { shareReplies } from './shares.js';
import { Stopped } from './stopped.js';

/** nfqlb's name for a stream. */
export function shmName(stream: string): string {
  return `tshm-${stream}`;
}

const NAMES: ListedNames = {
  stream: shmName,
  flow: flow => `${shmName(flow.stream)}-${flow.name}`,
};

/** Of a target that a change adds and no image has yet. */
const NO_SHARE: ShareReply = { packets: 0, packetShare: null, slotShare: 0 };

/** The configuration has no such thing as nfqlb's own mark. */
const NO_OWN_MARK = 0;

export function routesOf(daemon: Daemon): Routes {
  const image = () => daemon.images.current!;
  const sharesOf = (name: string): ReadonlyMap<number, ShareReply> => {
    const found = image().streams.find(({ stream }) => stream.name === name);
    return found === undefined ? new Map() : shareReplies(daemon.images, found);
  };
  const answers = answersOf(daemon);
  const judged = (judgement: Judgement) => new Answered(judgement.ok ? 200 : 503, judgement);
  return {
    'GET /v1/flows': () => flowReplies(daemon.images),
    'GET /v1/streams': () => streamReplies(daemon.images),
    'GET /v1/nfqlb/flows': () => nfqlbFlowReplies(daemon.images, NAMES),
    'GET /v1/nfqlb/streams': () => nfqlbStreamReplies(daemon.images, NAMES, () => NO_OWN_MARK),
    'GET /v1/nfqlb/slot': ({ query }) => slotReply(daemon.images, NAMES, query),
    'GET /v1/fragments': () => fragmentsReply(daemon.images),
    'GET /v1/loglevel': (): LogLevel => ({ level: syslogLevel(daemon.options.log.level) }),
    ...refusals(
      ['POST /v1/flows', 'POST /v1/streams', 'POST /v1/loglevel'],
      daemon.options.configFile ?? daemon.state.path,
    ),

    'POST /v1/apply': async ({ query, body }): Promise<ApplyReply> => {
      await daemon.applyText(body, query.get('name') ?? 'the applied configuration');
      return { generation: image().generation, warnings: daemon.warnings.lines };
    },

    'POST /v1/reload': async (): Promise<ReloadReply> => {
      const fault = await daemon.reload();
      if (fault instanceof Stopped) throw new RequestError(409, 'magmark stops: nothing was reloaded');
      if (fault !== null) throw fault;
      return {
        // A reload without a file is a fault.
        file: daemon.options.configFile!,
        generation: image().generation,
        warnings: daemon.warnings.lines,
        lastChange: lastChangeOf(daemon),
      };
    },

    'GET /v1/diff': () => daemon.compare('', ''),
    'POST /v1/diff': ({ query, body }) => daemon.compare(body, query.get('name') ?? 'the configuration'),
    'GET /v1/health': () => judged(answers.alive()),
    'GET /v1/ready': () => judged(answers.ready()),

    'GET /v1/explain': ({ query }) => explainLive(daemon, query.get('packet') ?? ''),

    'GET /v1/status': (): StatusReply => {
      const { config, options, pool, kernel, tally, guardWatch } = daemon;
      const names = reasonNames(daemon.images.core);
      const pending = new Map(daemon.service.idle.map(target => [target.fwmark, target.reason]));
      const { bird, sessions } = daemon.frontend.state();
      const announced = new Set(daemon.service.announced.map(prefixText));
      // The first reason of each.
      const lost = new Map(
        daemon.service.lost.toReversed().map(({ vip, reason }) => [prefixText(vip), reason]),
      );
      return {
        version,
        pid: process.pid,
        startedAt: daemon.startedAt.toISOString(),
        configFile: options.configFile,
        source: { ...daemon.source, at: daemon.source.at.toISOString() },
        lastChange: lastChangeOf(daemon),
        state: {
          path: daemon.state.path,
          keptAt: daemon.state.keptAt?.toISOString() ?? null,
          fault: daemon.state.fault,
        },
        generation: image().generation,
        carrier: kernel.carrier,
        queues: pool.statistics().map(({ queue, packets, bytes, batches, kernel: held }, worker) => ({
          queue,
          packets,
          bytes,
          batches,
          depth: held?.depth ?? 0,
          dropped: (held?.queueDropped ?? 0) + (held?.userDropped ?? 0),
          reasons: Object.fromEntries(
            reasonCounts(daemon.images.core, daemon.images.memory, worker).flatMap((count, reason) =>
              count > 0 ? [[names[reason]!, count]] : [],
            ),
          ),
        })),
        workerRestarts: pool.restarts,
        targets: config.streams.flatMap(stream => {
          const shares = sharesOf(stream.name);
          return stream.targets.map(target => ({
            stream: stream.name,
            identifier: target.identifier,
            fwmark: target.fwmark,
            ips: target.ips.map(ip => ip.address),
            pending: pending.get(target.fwmark) ?? null,
            health: daemon.service.health.state(targetLabel(stream, target))?.health ?? null,
            ...(shares.get(target.identifier) ?? NO_SHARE),
          }));
        }),
        gateways: config.gateways.map(({ name, protocol, ips }) => ({
          name,
          protocol,
          ips: ips.map(ip => ip.address),
          sessions: sessions
            .filter(session => session.gateway === name)
            .map(({ address, up, bfd, since, info }) => ({ address, up, bfd, since, info })),
        })),
        bird,
        vips: config.vips.map(prefixText).map(prefix => ({
          prefix,
          announced: announced.has(prefix),
          lost: lost.get(prefix) ?? null,
        })),
        passage: {
          dropped: { ipv4: guardWatch.dropped[4], ipv6: guardWatch.dropped[6] },
          left: guardWatch.left,
          lost: guardWatch.lost,
        },
        repairs: {
          count: tally.repairs.times,
          changes: tally.repairs.changes,
          lastAt: tally.repairs.lastAt?.toISOString() ?? null,
        },
        warnings: daemon.warnings.lines,
      };
    },
  };
}

function lastChangeOf({ lastChanges }: Daemon): StatusReply['lastChange'] {
  return (
    lastChanges && {
      added: lastChanges.added ?? [],
      removed: lastChanges.removed ?? [],
      changed: lastChanges.changed ?? [],
    }
  );
}

/** Changes that `nfqlb flowlb` takes. */
function refusals(keys: readonly string[], file: string): Routes {
  const refuse = (): never => {
    throw new RequestError(403, `magmark run takes no such command: its file is the truth (${file})`);
  };
  return Object.fromEntries(keys.map(key => [key, refuse]));
}
