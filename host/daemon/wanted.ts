/** The kernel state that follows from a configuration. Pure. */
import type { WantedKernel } from '../kernel/wanted.js';
import type { Config } from '../types/config.js';
import { watchedGateways } from './static-gateways.js';

/** @param queues that are bound: others than the configured ones after a takeover */
export function wantedKernel(config: Config, queues: WantedKernel['queues']): WantedKernel {
  return {
    vips: config.vips,
    queues,
    queueMark: config.queueMark,
    markMask: config.markMask,
    interfaces: config.interfaces,
    egress: ([4, 6] as const).filter(family =>
      config.gateways.some(gateway => gateway.ips.some(ip => ip.family === family)),
    ),
    gateways: watchedGateways(config),
    portNats: config.portNats,
    fragments: config.fragments,
    targets: config.streams.flatMap(stream =>
      stream.targets.map(target => ({
        fwmark: target.fwmark,
        nextHops: target.ips,
        label: `${stream.name}/${target.identifier}`,
      })),
    ),
    markRanges: config.streams.map(stream => ({
      first: stream.fwmarkOffset + 1,
      last: stream.fwmarkOffset + stream.maxTargets,
    })),
    unmatchedMarks: [config.noFlowFwmark, config.noTargetsFwmark].filter(mark => mark !== null),
  };
}
