/** Whom to ask whether a target serves. */

import { prefixInterval } from '../types/address.js';
import type { Config, Family, Host, PortNat, Prefix, Stream, Target } from '../types/config.js';

/**
 * `icmp`: the target's own addresses; what this host itself sends to a VIP by ICMP is queued (chain nfqlb-local).
 *
 * `tcp` and `http`: a VIP of the stream's flows in each family of the target, since targets own the VIPs and their servers
 * may be bound to nothing else. The packets leave by the target's mark, so they reach it and nobody else; this host's
 * address on the link is their source, so the answer comes straight back. Of a prefix its first address is asked.
 *
 * Two cases are asked at the target's own address: a family in which the stream has no VIP; and one in which every VIP
 * has a port NAT to the asked port, because the answer's source port would be translated on its way in, and the kernel
 * would not know it.
 */
export function askedHosts(config: Config, stream: Stream, target: Target): readonly Host[] {
  const check = stream.healthCheck;
  if (check === null || check.type === 'icmp') return target.ips;
  const vips = config.flows.filter(flow => flow.stream === stream.name).flatMap(flow => flow.vips);
  return target.ips.map(own => vipOf(vips, own.family, config.portNats, check.port!) ?? own);
}

function vipOf(vips: readonly Prefix[], family: Family, nats: readonly PortNat[], port: number): Host | null {
  const found = vips.find(
    vip => vip.family === family && !nats.some(nat => translatesAnswers(nat, vip, port)),
  );
  return found === undefined ? null : { family, address: found.address };
}

/** Whether what comes from `port` of the first address of `vip` bears another port behind `nat`. */
function translatesAnswers(nat: PortNat, vip: Prefix, port: number): boolean {
  if (nat.protocol !== 'tcp' || nat.targetPort !== port || nat.port === port) return false;
  const { first: asked } = prefixInterval(vip);
  return nat.vips.some(prefix => {
    if (prefix.family !== vip.family) return false;
    const { first, last } = prefixInterval(prefix);
    return first <= asked && asked <= last;
  });
}
