/** What the control socket tells of the daemon. */
import { prefixText } from '../config/address.js';
import type { FlowReply, StatusReply, StreamReply } from '../control/api.js';
import type { Answers } from '../control/server.js';
import { reasonCounts } from '../core/counters.js';
import { reasonNames } from '../core/reason.js';
import type { PortRange, Prefix } from '../types/config.js';
import { version } from '../version.js';
import type { Daemon } from './daemon.js';
import { targetLabel } from './serving.js';

/** nfqlb's name for a stream. */
function shmName(stream: string): string {
  return `tshm-${stream}`;
}

/** nfqlb lists every prefix among the 128 bits of IPv6. */
function mappedText(prefix: Prefix): string {
  return prefix.family === 4 ? `::ffff:${prefix.address}/${96 + prefix.length}` : prefixText(prefix);
}

function rangeText(range: PortRange): string {
  return range.first === range.last ? `${range.first}` : `${range.first}-${range.last}`;
}

/** Slots that `nfqlb show` prints. */
const LOOKUP_SLOTS = 25;
const EMPTY = 0xffff;

export function answersOf(daemon: Daemon): Answers {
  const image = () => daemon.images.current!;
  return {
    flows: (): FlowReply[] =>
      image().flows.map(({ name, flow, hidden }) => ({
        name: `${hidden ? '#' : ''}${shmName(flow.stream)}-${flow.name}`,
        priority: flow.priority,
        protocols: hidden ? ['udp'] : flow.protocols,
        dests: flow.vips.map(mappedText),
        dports: hidden ? [`${flow.udpEncapPort}`] : flow.destinationPortRanges.map(rangeText),
        srcs: flow.sourceSubnets.map(mappedText),
        sports: hidden ? [] : flow.sourcePortRanges.map(rangeText),
        match: hidden ? [] : flow.byteMatches.map(match => match.text),
        udpencap: flow.udpEncapPort ?? 0,
        matchesCount: daemon.images.counters.read(name),
        userRef: shmName(flow.stream),
      })),

    streams: (): StreamReply[] =>
      image().streams.map(stream => ({
        name: shmName(stream.stream.name),
        tableSize: stream.tableSize,
        maxTargets: stream.stream.maxTargets,
        lookup: [...daemon.images.table(stream).subarray(0, LOOKUP_SLOTS)].map(index =>
          index === EMPTY ? -1 : index,
        ),
        active: stream.active.map(target => ({ index: target.identifier - 1, fwmark: target.fwmark })),
      })),

    status: (): StatusReply => {
      const { config, options, pool, kernel } = daemon;
      const names = reasonNames(daemon.images.core);
      const pending = new Map(daemon.service.idle.map(target => [target.fwmark, target.reason]));
      const { bird, sessions } = daemon.frontend.state();
      return {
        version,
        pid: process.pid,
        startedAt: daemon.startedAt.toISOString(),
        configFile: options.configFile,
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
        targets: config.streams.flatMap(stream =>
          stream.targets.map(target => ({
            stream: stream.name,
            identifier: target.identifier,
            fwmark: target.fwmark,
            ips: target.ips.map(ip => ip.address),
            pending: pending.get(target.fwmark) ?? null,
            health: daemon.service.health.state(targetLabel(stream, target))?.health ?? null,
          })),
        ),
        gateways: config.gateways.map(({ name, protocol, ips }) => ({
          name,
          protocol,
          ips: ips.map(ip => ip.address),
          sessions: sessions
            .filter(session => session.gateway === name)
            .map(({ address, up, bfd, since, info }) => ({ address, up, bfd, since, info })),
        })),
        bird,
        vips: config.vips.map(vip => ({
          prefix: prefixText(vip),
          announced: daemon.service.announced.some(other => prefixText(other) === prefixText(vip)),
        })),
        repairs: {
          count: daemon.repairs.count,
          changes: daemon.repairs.changes,
          lastAt: daemon.repairs.lastAt?.toISOString() ?? null,
        },
        warnings: daemon.warnings,
      };
    },
  };
}
