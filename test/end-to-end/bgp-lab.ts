/** A load balancer and a gateway that speak BGP, and what is asked of them again and again. */
import type { Test } from 'tap';
import { LabGateway } from '../../scripts/lab/gateway.js';
import { KernelWatch } from '../../scripts/lab/kernel-watch.js';
import { FAMILIES, type Pair } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { Clients, startTargets } from '../../scripts/lab/traffic.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { A, B, BOUND_MS, hosts } from './bgp.js';
import { answered, connectionsTo, kernelState, predict } from './lab.js';

export class BgpLab {
  private port = 20_000;

  private constructor(
    readonly topology: Topology,
    readonly clients: Clients,
    readonly gateway: LabGateway,
    /** Of the load balancer. */
    readonly here: KernelWatch,
    /** Of the gateway. */
    readonly there: KernelWatch,
    readonly pristine: string,
  ) {}

  /** Returns when targets and gateway serve; no daemon runs. `topology.destroy` ends it. */
  static async create(): Promise<BgpLab> {
    const topology = Topology.reserve({ vips: hosts(A, B), staticRoutes: false });
    try {
      await topology.create();
      await startTargets(topology);
      const gateway = new LabGateway(topology);
      await gateway.start();
      const [here, there] = await Promise.all([
        KernelWatch.start(topology, topology.loadBalancer, 'link', 'neigh', 'route', 'rule'),
        KernelWatch.start(topology, topology.gateway, 'route'),
      ]);
      const pristine = await kernelState(topology);
      return new BgpLab(topology, new Clients(topology), gateway, here, there, pristine);
    } catch (error) {
      await topology.destroy();
      throw error;
    }
  }

  ip(...words: string[]) {
    return this.topology.processes.command(['ip', ...words]);
  }

  /** The next `count` source ports. */
  ports(count: number): number {
    this.port += count;
    return this.port - count;
  }

  /** Eight connections to each VIP, answered as the core predicts. */
  async expectServed(t: Test, text: string, vips: readonly string[], claim: string): Promise<void> {
    for (const vip of vips) {
      const connections = connectionsTo(vip.includes(':') ? 6 : 4, [vip], 8, this.ports(8));
      const answers = answered(await this.clients.connect(connections));
      t.strictSame(answers, predict(text, connections), `${vip}: ${claim}`);
    }
  }

  /** Until the gateway's kernel leads to the VIP of each family. */
  untilKnown(pair: Pair, families = FAMILIES): Promise<Pair> {
    return waitFor(`${pair[4]} and ${pair[6]} in the gateway's table`, BOUND_MS, async () => {
      const found = await this.gateway.routes(pair);
      return families.every(family => found[family] !== '') && found;
    });
  }

  /** When the gateway's kernel lost, or got, the route to a VIP, ms after `since`. */
  async after(since: number, what: 'lost' | 'got', vip: string): Promise<number> {
    const matches = new RegExp(`^${what === 'lost' ? 'Deleted ' : ''}${vip.replaceAll('.', '\\.')} `);
    const event = await this.there.first(`the gateway to have ${what} ${vip}`, matches, BOUND_MS, since);
    return Math.round(event.at - since);
  }
}
