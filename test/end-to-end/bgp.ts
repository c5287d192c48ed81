/** Two pairs of VIPs, each served by a stream of its own behind its own conduit, announced by BGP. */

import type { StatusReply } from '../../host/control/api.js';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { BGP, GATEWAYS, type Pair, VIP } from '../../scripts/lab/plan.js';
import { waitFor } from '../../scripts/lab/wait.js';

/** Served by stream a: targets 69 and 62, behind the first conduit. */
export const A = VIP;
/** Served by stream b: targets 44 and 73, behind the second one. */
export const B: Pair = { 4: '20.0.0.2', 6: '2000::2' };
export const hosts = (...pairs: readonly Pair[]): string[] =>
  pairs.flatMap(pair => [`${pair[4]}/32`, `${pair[6]}/128`]);

/** Far above what anything here takes; what is promised is judged by the measured time. */
export const BOUND_MS = 60_000;

export interface BgpOptions {
  /** Of GATEWAYS, by index. */
  readonly gateways?: readonly number[];
  /** null: none. */
  readonly bfd?: string | null;
  readonly vips?: readonly Pair[];
  /** Lines at the end. */
  readonly more?: string;
  /** Of each gateway. */
  readonly gatewayMore?: string;
  /** Lines of other gateways. */
  readonly otherGateways?: readonly string[];
}

export function bgpConfig(options: BgpOptions = {}): string {
  const { gateways = [0], bfd = '{minRx: 100ms, minTx: 100ms, multiplier: 5}', vips = [A, B] } = options;
  const gatewayLines = gateways.map(which => {
    const { 4: ipv4, 6: ipv6 } = GATEWAYS[which]!;
    const rest = `${bfd === null ? '' : `, bfd: ${bfd}`}${options.gatewayMore ?? ''}`;
    return (
      `  - {name: gateway-${which}, protocol: bgp, ips: [${ipv4}, "${ipv6}"], localAsn: ${BGP.loadBalancerAsn}, ` +
      `remoteAsn: ${BGP.gatewayAsn}, localPort: ${BGP.port}, remotePort: ${BGP.port}, holdTime: 9s${rest}}`
    );
  });
  const list = (texts: readonly string[]) => `[${texts.map(text => `"${text}"`).join(', ')}]`;
  return `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${list(hosts(...vips))}
gateways:
${[...gatewayLines, ...(options.otherGateways ?? [])].join('\n')}
streams:
  - name: a
    targets:
      - {identifier: 69, ips: [172.16.0.6, "fd00::6"]}
      - {identifier: 62, ips: [172.16.0.8, "fd00::8"]}
  - name: b
    targets:
      - {identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}
      - {identifier: 73, ips: [172.16.1.8, "fd00:0:0:1::8"]}
flows:
  - {name: a-tcp, stream: a, priority: 1, protocols: [tcp], vips: ${list(hosts(A))}, destinationPortRanges: ["4000"]}
  - {name: b-tcp, stream: b, priority: 1, protocols: [tcp], vips: ${list(hosts(B))}, destinationPortRanges: ["4000"]}
${options.more ?? ''}`;
}

type Session = StatusReply['gateways'][number]['sessions'][number];

/** Sessions by address, once `count` of them are up. */
export function sessionsUp(daemon: LabDaemon, count: number): Promise<Map<string, Session>> {
  return waitFor(`${count} sessions that are up`, BOUND_MS, async () => {
    const sessions = (await daemon.status()).gateways.flatMap(gateway => gateway.sessions);
    const up = sessions.filter(session => session.up);
    return up.length === count && new Map(up.map(session => [session.address, session]));
  });
}
