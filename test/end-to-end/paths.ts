/**
 * Ways through a topology with two gateways and two load balancers, and where they are narrow. One gateway stands before
 * the load balancers, the other may stand beyond it:
 *
 * clients --- access --- [beyond] --- access --- gateway --- ext-vlan0 --- load balancers --- conduit --- targets
 */
import type { Family } from '../../host/types/config.js';
import {
  ACCESS,
  CLIENTS,
  CONDUITS,
  clientAddress,
  EXTERNAL,
  FAMILIES,
  LOAD_BALANCERS,
  TARGETS,
  VIP,
} from '../../scripts/lab/plan.js';
import { Topology, type TopologyOptions } from '../../scripts/lab/topology.js';

/** What these ways need of a topology. */
export const PATHS_TOPOLOGY: TopologyOptions = { gateways: 2, loadBalancers: 2, staticRoutes: false };

/** MTU of all links but those of the narrow conduit. */
export const LINK_MTU = 1500;
export const CONDUIT_MTU = CONDUITS[0]!.mtu;
/** IP and TCP without options, in bytes. */
export const TCP_HEADERS: Readonly<Record<Family, number>> = { 4: 40, 6: 60 };

/** Where answers may meet a narrow link on their way to the clients. */
export type Bottleneck = 'load balancers' | 'gateway' | 'beyond';

const ANY = { 4: '0.0.0.0/0', 6: '::/0' } as const;
const [TO_GATEWAY, TO_BEYOND] = ACCESS.gateways;

export class Paths {
  constructor(private readonly topology: Topology) {}

  /** Namespaces. */
  at(bottleneck: Bottleneck): readonly string[] {
    const { gateways, loadBalancers } = this.topology;
    return { 'load balancers': loadBalancers, gateway: [gateways[0]!], beyond: [gateways[1]!] }[bottleneck];
  }

  /** The gateway spreads connections over the load balancers; every way is as wide as its links. */
  async open(): Promise<void> {
    const [[gateway], [beyond]] = [this.at('gateway'), this.at('beyond')] as [[string], [string]];
    for (const family of FAMILIES) {
      const ways = LOAD_BALANCERS.map(
        ({ external }) => `nexthop via ${external[family]} dev ${EXTERNAL.name}`,
      );
      await this.ip(gateway, family, [`route add ${VIP[family]} ${ways.join(' ')}`]);
      await this.ip(beyond, family, [
        `route add ${VIP[family]} via ${TO_GATEWAY![family]} dev ${ACCESS.name}`,
      ]);
      // By ports too: an error has none, so it may come to another load balancer than the packets that it is about.
      const policy = `/proc/sys/net/ipv${family}/fib_multipath_hash_policy`;
      await this.inside(gateway, 'sh', '-c', `echo 1 >${policy}`);
    }
    await this.widen();
    await this.forget();
  }

  /**
   * What clients and targets learned goes with a route. Targets ask for segments that their conduit does not take.
   * @param back ways of the targets' answers
   */
  async forget(back = LOAD_BALANCERS): Promise<void> {
    const { clients } = this.topology;
    for (const family of FAMILIES) {
      const out = `via ${TO_GATEWAY![family]} dev ${ACCESS.name}`;
      await this.ip(clients, family, [`route delete ${VIP[family]}`, `route add ${VIP[family]} ${out}`]);
      const advmss = `advmss ${LINK_MTU - TCP_HEADERS[family]}`;
      await Promise.all(
        TARGETS.map(({ identifier, conduit }) => {
          const ways = back.map(({ conduits }) => `nexthop via ${conduits[conduit]![family]} dev conduit`);
          return this.ip(this.topology.target(identifier), family, [
            `route delete ${ANY[family]}`,
            `route add ${ANY[family]} ${advmss} ${ways.join(' ')}`,
          ]);
        }),
      );
    }
  }

  /** Answers meet one link of `mtu` bytes on their way. */
  async narrow(bottleneck: Bottleneck, mtu: number): Promise<void> {
    if (bottleneck === 'load balancers') await this.setWaysOut(mtu);
    else await this.routeToClients(bottleneck === 'beyond', mtu);
  }

  async widen(): Promise<void> {
    await this.setWaysOut(LINK_MTU);
    await this.routeToClients(false, LINK_MTU);
  }

  /** Main's default route of every load balancer. */
  async setDefaultRoute(change: 'add' | 'delete', family: Family): Promise<void> {
    const way = `${ANY[family]} via ${EXTERNAL.gateway[family]} dev ${EXTERNAL.name}`;
    await Promise.all(
      this.topology.loadBalancers.map(name => this.ip(name, family, [`route ${change} ${way}`])),
    );
  }

  /** Packets that were too big to be sent on, for each namespace (RFC 4293: ipSystemStatsOutFragFails, and its IPv6 kin). */
  tooBig(bottleneck: Bottleneck, family: Family): Promise<number[]> {
    return Promise.all(
      this.at(bottleneck).map(async namespace => {
        const file = `/proc/net/snmp${family === 6 ? '6' : ''}`;
        const { stdout } = await this.inside(namespace, 'cat', file);
        if (family === 6) return Number(/^Ip6InTooBigErrors\s+(\d+)$/m.exec(stdout)![1]);
        const [names, values] = stdout
          .split('\n')
          .filter(line => line.startsWith('Ip: '))
          .map(line => line.split(' '));
        return Number(values![names!.indexOf('FragFails')]);
      }),
    );
  }

  private async setWaysOut(mtu: number): Promise<void> {
    await Promise.all(
      this.at('load balancers').map(name =>
        this.inside(name, 'ip', 'link', 'set', EXTERNAL.name, 'mtu', `${mtu}`),
      ),
    );
  }

  /** From the gateway over the link to them, which takes `mtu` bytes, or over the router beyond, whose link does. */
  private async routeToClients(isBeyond: boolean, mtu: number): Promise<void> {
    for (const family of FAMILIES) {
      // Locked: Linux forwards IPv6 by the link's MTU else.
      const straight = `via ${ACCESS.clients[family]} dev ${ACCESS.name} mtu lock ${mtu}`;
      const round = `via ${TO_BEYOND![family]} dev ${ACCESS.name}`;
      const routes = (way: string): string[] =>
        Array.from({ length: CLIENTS }, (_, index) => `route replace ${clientAddress(family, index)} ${way}`);
      await this.ip(this.at('gateway')[0]!, family, routes(isBeyond ? round : straight));
      await this.ip(this.at('beyond')[0]!, family, routes(straight));
    }
  }

  private inside(namespace: string, ...argv: string[]) {
    return this.topology.processes.command([...Topology.inside(namespace), ...argv]);
  }

  private async ip(namespace: string, family: Family, lines: readonly string[]): Promise<void> {
    const argv = [...Topology.inside(namespace), 'ip', `-${family}`, '-batch', '-'];
    await this.topology.processes.command(argv, { input: lines.map(line => `${line}\n`).join('') });
  }
}
