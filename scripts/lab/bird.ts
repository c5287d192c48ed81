/** BIRD as the router on the other side: a gateway that sends its default route and takes the VIPs into its kernel. */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bfd, Host, Prefix } from '../../host/types/config.js';
import { FAMILIES } from './plan.js';
import type { Processes } from './processes.js';
import { Topology } from './topology.js';
import { waitFor } from './wait.js';

export interface RouterPlan {
  readonly routerId: string;
  /** Interface towards the load balancers. */
  readonly device: string;
  readonly asn: number;
  /** Of its BGP socket. */
  readonly port?: number;
  /** Of theirs. */
  readonly neighbourPort?: number;
  /** Load balancers, one for each address. */
  readonly neighbours: readonly (Host & { readonly asn: number })[];
  readonly password?: string;
  readonly bfd?: Bfd;
  /** false: the neighbours are asked for BFD alone, as by a router whose routes are static. */
  readonly bgp?: boolean;
  /** Its sessions may cross routers: packets of any TTL, and multihop BFD. */
  readonly multihop?: boolean;
  /** Seconds. */
  readonly holdTime?: number;
  /** Default routes that it sends: none for a router that has none. */
  readonly sendsDefault?: boolean;
  /** Several load balancers are reached at once. */
  readonly ecmp?: boolean;
  /** Of the routes that it puts into its kernel; default: the link's. */
  readonly mtu?: number;
}

/** The router's file. It takes whatever it is sent, and puts it into its kernel's main table. */
export function routerConfiguration(plan: RouterPlan): string {
  const { bfd } = plan;
  const families = FAMILIES.map(family => {
    const anything = family === 4 ? '0.0.0.0/0' : '::/0';
    const merge = plan.ecmp ? 'merge paths on; ' : '';
    const filter = `{ if source != RTS_BGP then reject; ${plan.mtu === undefined ? '' : `krt_mtu = ${plan.mtu}; `}accept; }`;
    return `protocol kernel kernel${family} { ${merge}ipv${family} { import none; export filter ${filter}; }; }
protocol static default${family} { ipv${family}; ${plan.sendsDefault === false ? '' : `route ${anything} blackhole; `}}
`;
  });
  const options =
    bfd === undefined
      ? ''
      : `min rx interval ${bfd.minRxMs} ms; min tx interval ${bfd.minTxMs} ms; multiplier ${bfd.multiplier};`;
  const sessions = (plan.bgp === false ? [] : plan.neighbours).map(({ family, address, asn }, index) => {
    const scope = /^fe80:/i.test(address) ? `%'${plan.device}'` : '';
    return `protocol bgp lb${index} {
  local port ${plan.port ?? 179} as ${plan.asn};
  neighbor ${address}${scope} port ${plan.neighbourPort ?? 179} as ${asn};
  ${plan.multihop ? 'multihop' : 'direct'};
${plan.password === undefined ? '' : `  password "${plan.password}";\n`}${bfd === undefined ? '' : `  bfd { ${options} };\n`}  graceful restart off;
  hold time ${plan.holdTime ?? 9};
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 5;
  ipv${family} { import all; export where source = RTS_STATIC; next hop self; };
}
`;
  });
  const asked = plan.neighbours.map(({ address }) => `neighbor ${address} dev "${plan.device}"; `);
  const monitored = plan.bgp === false ? asked.join('') : '';
  const bfdProtocol =
    bfd === undefined ? '' : `protocol bfd { interface "${plan.device}" { ${options} }; ${monitored}}\n`;
  return `log stderr all;
router id ${plan.routerId};
timeformat protocol iso long ms;
protocol device {}
${bfdProtocol}${families.join('')}${sessions.join('')}`;
}

const READY_MS = 60_000;
const STOP_MS = 5000;

export class LabBird {
  private child: ChildProcess | null = null;

  /** @param directory of its files; its path is short, or the control socket does not fit in an address */
  constructor(
    private readonly processes: Processes,
    private readonly namespace: string,
    private readonly directory: string,
  ) {}

  /** Returns when it answers. */
  async start(plan: RouterPlan): Promise<void> {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    writeFileSync(this.file('conf'), routerConfiguration(plan), { mode: 0o600 });
    const argv = ['bird', '-f', '-c', this.file('conf'), '-s', this.file('ctl'), '-P', this.file('pid')];
    const log = this.file('log');
    this.child = this.processes.start([...Topology.inside(this.namespace), ...argv], log);
    await waitFor(`BIRD of ${this.namespace} to answer (see ${log})`, READY_MS, async () => {
      if (this.hasEnded()) throw new Error(`BIRD of ${this.namespace} ended: see ${log}`);
      return (await this.birdc(['show', 'status'], true)).code === 0;
    });
  }

  /** Change what it does without dropping sessions that stay. */
  async reconfigure(plan: RouterPlan): Promise<void> {
    writeFileSync(this.file('conf'), routerConfiguration(plan), { mode: 0o600 });
    await this.ask('configure');
  }

  /** What birdc prints. */
  async ask(...command: string[]): Promise<string> {
    return (await this.birdc(command, false)).stdout;
  }

  /** Whether the prefix came by BGP. */
  async knows({ address, length }: Pick<Prefix, 'address' | 'length'>): Promise<boolean> {
    const { stdout } = await this.birdc(['show', 'route', `${address}/${length}`], true);
    return stdout.includes('[lb');
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.child?.kill(signal);
    await waitFor(`BIRD of ${this.namespace} to end`, STOP_MS, () => this.hasEnded());
    this.child = null;
  }

  private birdc(command: readonly string[], mayFail: boolean) {
    return this.processes.command(['birdc', '-s', this.file('ctl'), ...command], { mayFail });
  }

  private hasEnded(): boolean {
    return this.child === null || this.child.exitCode !== null || this.child.signalCode !== null;
  }

  private file(extension: string): string {
    return join(this.directory, `router.${extension}`);
  }
}
