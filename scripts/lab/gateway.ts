/** BIRD in a gateway of a topology: it sends its default route and takes the VIPs into its kernel. */
import { join } from 'node:path';
import type { Bfd } from '../../host/types/config.js';
import { LabBird, type RouterPlan } from './bird.js';
import { BGP, CLIENT_MTU, EXTERNAL, FAMILIES, LOAD_BALANCERS, type Pair } from './plan.js';
import { Topology } from './topology.js';
import { waitFor } from './wait.js';

const READY_MS = 60_000;

/** As in the demonstration's configuration of the other side. */
export const GATEWAY_BFD: Bfd = { minRxMs: 100, minTxMs: 100, multiplier: 5 };

export class LabGateway {
  readonly bird: LabBird;
  readonly namespace: string;

  constructor(
    private readonly topology: Topology,
    private readonly which = 0,
  ) {
    this.namespace = topology.gateways[which]!;
    this.bird = new LabBird(topology.processes, this.namespace, join(topology.directory, `gw${which}`));
  }

  /** Start it with sessions to every load balancer in both families; they need not be there yet. */
  start(more: Partial<RouterPlan> = {}): Promise<void> {
    return this.bird.start(this.plan(more));
  }

  plan(more: Partial<RouterPlan> = {}): RouterPlan {
    const loadBalancers = this.topology.loadBalancers.map((_, index) => LOAD_BALANCERS[index]!.external);
    return {
      routerId: `10.0.0.${this.which + 1}`,
      device: EXTERNAL.name,
      asn: BGP.gatewayAsn,
      port: BGP.port,
      neighbourPort: BGP.port,
      neighbours: loadBalancers.flatMap(external =>
        FAMILIES.map(family => ({ family, address: external[family], asn: BGP.loadBalancerAsn })),
      ),
      bfd: GATEWAY_BFD,
      holdTime: 9,
      ecmp: loadBalancers.length > 1,
      mtu: CLIENT_MTU,
      ...more,
    };
  }

  /** What its kernel has for one VIP a family: a line of `ip`, or none where there is no route. */
  async routes(vip: Pair): Promise<Pair> {
    const [ipv4, ipv6] = await Promise.all(
      FAMILIES.map(async family => {
        const argv = ['ip', `-${family}`, 'route', 'show', vip[family], 'proto', 'bird'];
        const { stdout } = await this.topology.processes.command([
          ...Topology.inside(this.namespace),
          ...argv,
        ]);
        return stdout.trim();
      }),
    );
    return { 4: ipv4!, 6: ipv6! };
  }

  /** Until its kernel leads to the VIP, and table 4096 of the first load balancer to it, in both families. */
  untilExchanged(vip: Pair): Promise<{ routes: Pair; tables: Pair }> {
    return waitFor(
      `${this.namespace} and the load balancer to know each other's routes`,
      READY_MS,
      async () => {
        const [routes, tables] = await Promise.all([this.routes(vip), egress(this.topology)]);
        return FAMILIES.every(family => routes[family] !== '' && tables[family] !== '') && { routes, tables };
      },
    );
  }
}

/** Table 4096 of a load balancer, as `ip` shows it. */
export async function egress(topology: Topology, which = 0): Promise<Pair> {
  const [ipv4, ipv6] = await Promise.all(
    FAMILIES.map(async family => {
      const argv = [
        'ip',
        '-n',
        topology.loadBalancers[which]!,
        `-${family}`,
        'route',
        'show',
        'table',
        '4096',
      ];
      // A table that never had a route is none, which ip calls a failure.
      return (await topology.processes.command(argv, { mayFail: true })).stdout;
    }),
  );
  return { 4: ipv4!, 6: ipv6! };
}
