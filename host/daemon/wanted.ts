/** The kernel state that follows from a configuration. Pure. */
import type { WantedKernel } from '../kernel/wanted.js';
import type { Config } from '../types/config.js';

export function wantedKernel(config: Config): WantedKernel {
  return {
    vips: config.vips,
    queues: config.queues,
    interfaces: config.interfaces,
    gateways: config.gateways.flatMap(gateway => gateway.ips),
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
  };
}
