/** A container that has joined the load balancer's namespace: what `podman run` takes for it, as the README has it. */
import { fileURLToPath } from 'node:url';
import { type Housing, MAGMARK, NFQLB } from './daemon.js';
import { CONDUITS, EXTERNAL } from './plan.js';
import { MARK } from './run-state.js';
import type { Topology } from './topology.js';

export const PODMAN = fileURLToPath(new URL('../../../scripts/container/podman', import.meta.url));
export const IMAGE = 'localhost/magmark';

/** All that the daemon and its BIRD may do. */
export const CAPABILITIES = ['NET_ADMIN'];

/** `/proc/sys` is read-only in a container: what the daemon would set is set by who starts it. */
export const SYSCTLS: readonly string[] = [
  'net.ipv4.ip_forward=1',
  'net.ipv4.fib_multipath_hash_policy=1',
  'net.ipv4.fib_multipath_use_neigh=1',
  'net.ipv4.fwmark_reflect=1',
  'net.ipv6.conf.all.forwarding=1',
  'net.ipv6.fib_multipath_hash_policy=1',
  'net.ipv6.fwmark_reflect=1',
  ...['all', 'default', 'lo', EXTERNAL.name, ...CONDUITS.map(({ name }) => name)].flatMap(name => [
    `net.ipv4.conf.${name}.rp_filter=0`,
    `net.ipv4.conf.${name}.send_redirects=0`,
    `net.ipv4.conf.${name}.arp_notify=1`,
    `net.ipv6.conf.${name}.ndisc_notify=1`,
  ]),
];

export class Container implements Housing {
  readonly name: string;
  /** What is kept of a run for the next, and the journal: the namespace outlives the container, so that must too. */
  private readonly volumes: Readonly<Record<string, string>>;

  constructor(
    private readonly topology: Topology,
    private readonly options: readonly string[] = [],
  ) {
    this.name = `${topology.id}-magmark`;
    this.volumes = {
      [`${topology.id}-state`]: '/var/lib/magmark',
      [`${topology.id}-run`]: '/run/magmark',
    };
  }

  run(options: readonly string[]): string[] {
    const { directory, loadBalancer, id } = this.topology;
    return [
      PODMAN,
      'run',
      '--rm',
      ...['--name', this.name],
      // The namespace is made already, as a pod's is.
      ...['--network', `ns:/run/netns/${loadBalancer}`],
      ...['--cap-drop', 'ALL'],
      ...CAPABILITIES.flatMap(name => ['--cap-add', name]),
      ...['--security-opt', 'no-new-privileges'],
      ...['--read-only', '--read-only-tmpfs=false'],
      ...['--tmpfs', '/run'],
      ...['--volume', `${directory}:${directory}:ro`],
      ...Object.entries(this.volumes).flatMap(([volume, path]) => ['--volume', `${volume}:${path}`]),
      ...SYSCTLS.flatMap(setting => ['--sysctl', setting]),
      // The run's processes are known by this, whoever has to end them.
      ...['--env', `${MARK}=${id}`],
      ...this.options,
      IMAGE,
      'run',
      ...options,
    ];
  }

  ask(argv: readonly string[]): string[] {
    const programs: Readonly<Record<string, string>> = { [MAGMARK]: 'magmark', [NFQLB]: 'nfqlb' };
    const inside = argv[0] === 'node' ? [programs[argv[1]!]!, ...argv.slice(2)] : argv;
    return [PODMAN, 'exec', this.name, ...inside];
  }

  /** Remove what outlives the container. */
  async remove(): Promise<void> {
    const { processes } = this.topology;
    await processes.command([PODMAN, 'rm', '--force', '--ignore', '--time', '0', this.name]);
    await processes.command([PODMAN, 'volume', 'rm', '--force', ...Object.keys(this.volumes)], {
      // Those that were never used are not there.
      mayFail: true,
    });
  }

  /** Of the daemon, as this machine numbers it. */
  async pid(): Promise<number> {
    const argv = [PODMAN, 'inspect', '--format', '{{.State.Pid}}', this.name];
    return Number((await this.topology.processes.command(argv)).stdout);
  }
}
