/**
 * The reference document's network in namespaces of its own: a gateway with its clients, the load balancer, four targets
 * behind two bridges. Nothing is made in the namespace that this runs in.
 *
 * gateway --- ext-vlan0 [load balancer] conduit-a--d7c4 --- bridge --- targets 69, 62
 *                                       conduit-a--f75b --- bridge --- targets 44, 73
 *
 * There may be two gateways, the clients behind them, and two load balancers: then a bridge takes the place of the
 * external link.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  clientCommands,
  gatewayCommands,
  hasAccess,
  links,
  loadBalancerCommands,
  type Network,
  switchCommands,
  targetCommands,
} from './network.js';
import { FAMILIES, GATEWAYS, TARGETS, VIP } from './plan.js';
import { Processes } from './processes.js';
import { removeRun } from './removal.js';
import { type RunState, STATE_DIRECTORY, saveState, thisProcess, thisSession } from './run-state.js';
import { waitFor } from './wait.js';

export interface TopologyOptions {
  /** Prefixes that the targets own and the gateway routes to the load balancer. Default: the two VIPs of the plan. */
  readonly vips?: readonly string[];
  /** The gateways' routes to the VIPs, over the first load balancer. Default true; false: BIRD is to bring them. */
  readonly staticRoutes?: boolean;
  /** Default 1. */
  readonly gateways?: 1 | 2;
  /** Default 1. */
  readonly loadBalancers?: 1 | 2;
}

const READY_MS = 60_000;

export class Topology {
  readonly processes: Processes;
  private readonly network: Network;
  private state: RunState;

  private constructor(
    readonly id: string,
    options: TopologyOptions,
  ) {
    const { vips = [`${VIP[4]}/32`, `${VIP[6]}/128`], staticRoutes = true } = options;
    const gateways = options.gateways === 2 ? [`${id}-gw`, `${id}-gw2`] : [`${id}-gw`];
    this.network = {
      gateways,
      loadBalancers: options.loadBalancers === 2 ? [`${id}-lb`, `${id}-lb2`] : [`${id}-lb`],
      clients: gateways.length > 1 ? `${id}-cl` : gateways[0]!,
      switch: `${id}-sw`,
      target: identifier => `${id}-t${identifier}`,
      vips,
      staticRoutes,
    };
    this.processes = new Processes(id);
    this.state = {
      id,
      namespaces: [
        ...gateways,
        ...this.network.loadBalancers,
        this.switch,
        ...(hasAccess(this.network) ? [this.clients] : []),
        ...TARGETS.map(each => this.target(each.identifier)),
      ],
      directory: join(STATE_DIRECTORY, id),
      owner: thisProcess(),
      keptFor: null,
    };
  }

  /** A name and a place for a topology; nothing is made before `create()`, and `destroy()` undoes what was made of it. */
  static reserve(options: TopologyOptions = {}): Topology {
    return new Topology(`mm-${randomBytes(3).toString('hex')}`, options);
  }

  /** The first of them. */
  get gateway(): string {
    return this.network.gateways[0]!;
  }

  get gateways(): readonly string[] {
    return this.network.gateways;
  }

  /** The first of them. */
  get loadBalancer(): string {
    return this.network.loadBalancers[0]!;
  }

  get loadBalancers(): readonly string[] {
    return this.network.loadBalancers;
  }

  /** Where the clients are. */
  get clients(): string {
    return this.network.clients;
  }

  get switch(): string {
    return this.network.switch;
  }

  /** For files of this run; goes with it. */
  get directory(): string {
    return this.state.directory;
  }

  /** Namespace of a target. */
  target(identifier: number): string {
    return this.network.target(identifier);
  }

  /** The words before a command that is to run in `namespace`. */
  static inside(namespace: string): string[] {
    return ['ip', 'netns', 'exec', namespace];
  }

  /** Returns when every address answers. */
  async create(): Promise<void> {
    saveState(this.state);
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    const { network } = this;
    const namespaces = this.state.namespaces.map(name => `netns add ${name}`);
    await this.processes.command(['ip', '-batch', '-'], { input: lines([...namespaces, ...links(network)]) });
    const access = hasAccess(network);
    await Promise.all([
      ...this.gateways.map((name, which) =>
        this.configure(name, gatewayCommands(network, which), access ? FORWARDS : []),
      ),
      ...this.loadBalancers.map((name, which) => this.configure(name, loadBalancerCommands(which))),
      this.configure(this.switch, switchCommands(network), [['ipv6/conf/all/disable_ipv6', '1']]),
      ...(access ? [this.configure(this.clients, clientCommands(network), SPREADS)] : []),
      ...TARGETS.map(each =>
        this.configure(this.target(each.identifier), targetCommands(network, each), SPREADS),
      ),
    ]);
    const gateways = this.gateways.map((_, which) => GATEWAYS[which]!);
    const neighbours = [...gateways, ...TARGETS.map(each => each.ips)].flatMap(pair =>
      FAMILIES.map(family => pair[family]),
    );
    await Promise.all(
      this.loadBalancers.flatMap(name => neighbours.map(each => this.untilAnswers(name, each))),
    );
  }

  /** Leave it when this process ends, until somebody cleans up. */
  keep(): void {
    this.state = { ...this.state, keptFor: thisSession() };
    saveState(this.state);
  }

  /** End its processes, remove its namespaces and files. Harmless when repeated, or when little was made. */
  async destroy(): Promise<void> {
    await this.processes.end();
    await removeRun(this.state);
  }

  /** Settings first, so that no address is ever tentative; one process a namespace. */
  private async configure(
    namespace: string,
    commands: readonly string[],
    more: readonly Setting[] = [],
  ): Promise<void> {
    const settings: Setting[] = [
      ['ipv6/conf/*/accept_dad', '0'],
      // Requests for a neighbour's address come from the link's own address, never from a VIP or a client.
      ['ipv4/conf/all/arp_announce', '2'],
      ['ipv4/conf/all/arp_ignore', '1'],
      ['ipv4/conf/*/rp_filter', '0'],
      ...more,
    ];
    const script = [
      ...settings.map(([path, value]) => `for file in /proc/sys/net/${path}; do echo ${value} >$file; done`),
      'exec ip -batch -',
    ];
    await this.processes.command([...Topology.inside(namespace), 'sh', '-ec', script.join('\n')], {
      input: lines(['link set lo up', ...commands]),
    });
  }

  private async untilAnswers(from: string, neighbour: string): Promise<void> {
    const ping = ['ping', '-q', '-c', '1', '-i', '0.05', '-w', '1', neighbour];
    await waitFor(`an answer from ${neighbour} to ${from}`, READY_MS, async () => {
      const { code } = await this.processes.command([...Topology.inside(from), ...ping], {
        mayFail: true,
      });
      return code === 0;
    });
  }
}

/** Path below /proc/sys/net, and its value. */
type Setting = readonly [string, string];

const FORWARDS: readonly Setting[] = [
  ['ipv4/conf/all/forwarding', '1'],
  ['ipv6/conf/all/forwarding', '1'],
];
/** Where there are two ways, those of one pair of hosts differ by their ports. */
const SPREADS: readonly Setting[] = [
  ['ipv4/fib_multipath_hash_policy', '1'],
  ['ipv6/fib_multipath_hash_policy', '1'],
];

const lines = (commands: readonly string[]): string => commands.map(command => `${command}\n`).join('');
