/**
 * The reference document's network in namespaces of its own: a gateway with its clients, the load balancer, four targets
 * behind two bridges. Nothing is made in the namespace that this runs in.
 *
 * gateway --- ext-vlan0 [load balancer] conduit-a--d7c4 --- bridge --- targets 69, 62
 *                                       conduit-a--f75b --- bridge --- targets 44, 73
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RUN_DIRECTORY } from '../../host/control/socket.js';
import type { Family } from '../../host/types/config.js';
import {
  CLIENT_MTU,
  CLIENTS,
  CONDUIT_PREFIX,
  CONDUITS,
  clientAddress,
  EXTERNAL,
  FAMILIES,
  type Pair,
  TARGETS,
  VIP,
} from './plan.js';
import { endProcesses, Processes } from './processes.js';
import { type RunState, removeState, STATE_DIRECTORY, saveState, startTicks } from './run-state.js';
import { waitFor } from './wait.js';

export interface TopologyOptions {
  /** Prefixes that the targets own and the gateway routes to the load balancer. Default: the two VIPs of the plan. */
  readonly vips?: readonly string[];
}

const NAMESPACES = '/run/netns';
const READY_MS = 10_000;
const REMOVAL_TRIES = 10;

export class Topology {
  readonly gateway: string;
  readonly loadBalancer: string;
  readonly switch: string;
  readonly processes: Processes;
  private state: RunState;

  private constructor(
    readonly id: string,
    private readonly vips: readonly string[],
  ) {
    this.gateway = `${id}-gw`;
    this.loadBalancer = `${id}-lb`;
    this.switch = `${id}-sw`;
    this.processes = new Processes(id);
    this.state = {
      id,
      namespaces: [
        this.gateway,
        this.loadBalancer,
        this.switch,
        ...TARGETS.map(each => this.target(each.identifier)),
      ],
      directory: join(STATE_DIRECTORY, id),
      owner: { pid: process.pid, startTicks: startTicks(process.pid)! },
      kept: false,
    };
  }

  /** A name and a place for a topology; nothing is made before `create()`, and `destroy()` undoes what was made of it. */
  static reserve(options: TopologyOptions = {}): Topology {
    return new Topology(
      `mm-${randomBytes(3).toString('hex')}`,
      options.vips ?? [`${VIP[4]}/32`, `${VIP[6]}/128`],
    );
  }

  /** For files of this run; goes with it. */
  get directory(): string {
    return this.state.directory;
  }

  /** Namespace of a target. */
  target(identifier: number): string {
    return `${this.id}-t${identifier}`;
  }

  /** The words before a command that is to run in `namespace`. */
  static inside(namespace: string): string[] {
    return ['ip', 'netns', 'exec', namespace];
  }

  /** Returns when every address answers. */
  async create(): Promise<void> {
    saveState(this.state);
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    await this.processes.command(['ip', '-batch', '-'], { input: lines(this.links()) });
    await Promise.all([
      this.configure(this.gateway, this.gatewayCommands()),
      this.configure(this.loadBalancer, this.loadBalancerCommands()),
      this.configure(this.switch, this.switchCommands(), true),
      ...TARGETS.map(each => this.configure(this.target(each.identifier), this.targetCommands(each))),
    ]);
    const neighbours = [EXTERNAL.gateway, ...TARGETS.map(each => each.ips)];
    await Promise.all(neighbours.flatMap(pair => FAMILIES.map(family => this.untilAnswers(pair[family]))));
  }

  /** Leave it when this process ends, until somebody cleans up. */
  keep(): void {
    this.state = { ...this.state, kept: true };
    saveState(this.state);
  }

  /** End its processes, remove its namespaces and files. Harmless when repeated, or when little was made. */
  async destroy(): Promise<void> {
    await this.processes.end();
    await removeRun(this.state);
  }

  /** Links are made in place: both ends are born in their namespaces. */
  private links(): string[] {
    const pair = (one: string, oneName: string, other: string, otherName: string, mtu: number): string =>
      `link add ${oneName} mtu ${mtu} netns ${one} type veth peer name ${otherName} mtu ${mtu} netns ${other}`;
    return [
      ...this.state.namespaces.map(name => `netns add ${name}`),
      pair(this.loadBalancer, EXTERNAL.name, this.gateway, EXTERNAL.name, 1500),
      ...CONDUITS.map(({ name, mtu }, index) =>
        pair(this.loadBalancer, name, this.switch, `lb${index}`, mtu),
      ),
      ...TARGETS.map(({ identifier, conduit }) =>
        pair(this.target(identifier), 'conduit', this.switch, `t${identifier}`, CONDUITS[conduit]!.mtu),
      ),
    ];
  }

  /** Settings first, so that no address is ever tentative; one process a namespace. */
  private async configure(namespace: string, commands: readonly string[], layer2 = false): Promise<void> {
    const settings = [
      ['ipv6/conf/*/accept_dad', '0'],
      // Requests for a neighbour's address come from the link's own address, never from a VIP or a client.
      ['ipv4/conf/all/arp_announce', '2'],
      ['ipv4/conf/all/arp_ignore', '1'],
      ['ipv4/conf/*/rp_filter', '0'],
      ...(layer2 ? [['ipv6/conf/all/disable_ipv6', '1']] : []),
    ];
    const script = [
      ...settings.map(([path, value]) => `for file in /proc/sys/net/${path}; do echo ${value} >$file; done`),
      'exec ip -batch -',
    ];
    await this.processes.command([...Topology.inside(namespace), 'sh', '-ec', script.join('\n')], {
      input: lines(['link set lo up', ...commands]),
    });
  }

  private gatewayCommands(): string[] {
    const { name, gateway, loadBalancer, prefix } = EXTERNAL;
    const clients = Array.from({ length: CLIENTS }, (_, index) => index);
    return [
      ...FAMILIES.map(family => address(`${gateway[family]}/${prefix[family]}`, name)),
      ...FAMILIES.flatMap(family => clients.map(index => address(host(clientAddress(family, index)), 'lo'))),
      `link set ${name} up`,
      // The MTU of the route alone: datagrams leave in fragments, and the link itself is an ordinary one.
      ...this.vips.map(
        vip => `route add ${vip} via ${loadBalancer[familyOf(vip)]} dev ${name} mtu ${CLIENT_MTU}`,
      ),
    ];
  }

  private loadBalancerCommands(): string[] {
    const external = FAMILIES.map(family =>
      address(`${EXTERNAL.loadBalancer[family]}/${EXTERNAL.prefix[family]}`, EXTERNAL.name),
    );
    const conduits = CONDUITS.flatMap(({ name, loadBalancer }) => [
      ...FAMILIES.map(family => address(`${loadBalancer[family]}/${CONDUIT_PREFIX[family]}`, name)),
      `link set ${name} up`,
    ]);
    // As a pod has one; the kernel makes its errors about packets to a VIP only where main leads somewhere.
    const defaults = FAMILIES.map(
      family => `route add ${ALL[family]} via ${EXTERNAL.gateway[family]} dev ${EXTERNAL.name}`,
    );
    return [...external, ...conduits, `link set ${EXTERNAL.name} up`, ...defaults];
  }

  private switchCommands(): string[] {
    return CONDUITS.flatMap(({ mtu }, index) => {
      const ports = TARGETS.filter(each => each.conduit === index).map(each => `t${each.identifier}`);
      return [
        `link add br${index} mtu ${mtu} type bridge`,
        ...[`lb${index}`, ...ports].map(port => `link set ${port} master br${index} up`),
        `link set br${index} up`,
      ];
    });
  }

  private targetCommands({ conduit, ips }: (typeof TARGETS)[number]): string[] {
    const { loadBalancer } = CONDUITS[conduit]!;
    return [
      ...FAMILIES.map(family => address(`${ips[family]}/${CONDUIT_PREFIX[family]}`, 'conduit')),
      'link set conduit up',
      ...this.vips.map(vip =>
        vip === host(vip.split('/')[0]!) ? address(vip, 'lo') : `route add local ${vip} dev lo`,
      ),
      ...FAMILIES.map(family => `route add ${ALL[family]} via ${loadBalancer[family]} dev conduit`),
    ];
  }

  private async untilAnswers(neighbour: string): Promise<void> {
    const ping = ['ping', '-q', '-c', '1', '-i', '0.05', '-w', '1', neighbour];
    await waitFor(`an answer from ${neighbour}`, READY_MS, async () => {
      const { code } = await this.processes.command([...Topology.inside(this.loadBalancer), ...ping], {
        mayFail: true,
      });
      return code === 0;
    });
  }
}

/** Remove what a run made, whoever made it; its processes are ended first. */
export async function removeRun(state: RunState): Promise<void> {
  await endProcesses(state.id);
  // A name without a namespace behind it is what an interrupted `ip netns add` leaves; its inode belongs to /run.
  const inodes = standing(state).map(name => statSync(join(NAMESPACES, name)).ino);
  await removeNamespaces(state);
  for (const inode of inodes) removeDaemonFiles(inode);
  rmSync(state.directory, { recursive: true, force: true });
  removeState(state.id);
}

/** A Ctrl-C that ends the removing command, as it ends every command of the terminal, is no reason to leave the rest. */
async function removeNamespaces(state: RunState): Promise<void> {
  for (let tries = 1; standing(state).length > 0; tries++) {
    const input = lines(standing(state).map(name => `netns delete ${name}`));
    const { stderr } = await new Processes('').command(['ip', '-force', '-batch', '-'], {
      input,
      mayFail: true,
    });
    if (tries === REMOVAL_TRIES && standing(state).length > 0) {
      throw new Error(`${standing(state).join(', ')} cannot be removed: ${stderr.trim()}`);
    }
  }
}

const standing = (state: RunState): string[] =>
  state.namespaces.filter(name => existsSync(join(NAMESPACES, name)));

/** Socket and journal that a killed daemon left for its namespace, which is gone. */
function removeDaemonFiles(inode: number): void {
  if (!existsSync(RUN_DIRECTORY)) return;
  for (const name of readdirSync(RUN_DIRECTORY)) {
    if (name.startsWith(`net-${inode}.`)) rmSync(join(RUN_DIRECTORY, name), { force: true });
  }
}

/** A batch cannot say `-6 route add default`. */
const ALL: Pair = { 4: '0.0.0.0/0', 6: '::/0' };

const lines = (commands: readonly string[]): string => commands.map(command => `${command}\n`).join('');

const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);

const host = (text: string): string => `${text}/${familyOf(text) === 4 ? 32 : 128}`;

/** IPv6 without duplicate address detection: an address is usable at once. */
const address = (text: string, device: string): string =>
  `address add ${text} dev ${device}${familyOf(text) === 6 ? ' nodad' : ''}`;
