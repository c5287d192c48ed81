/**
 * Networks for tests with BIRD on both sides, inside the namespaces that a test file makes of itself: `ext-vlan0` here and
 * routers in namespaces of their own behind one bridge.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Frontend, type FrontendState } from '../../host/frontend/frontend.js';
import type { FrontendLog, WantedFrontend } from '../../host/frontend/wanted.js';
import type { BgpGateway, Host, Prefix } from '../../host/types/config.js';
import { LabBird, type RouterPlan } from '../../scripts/lab/bird.js';
import { endProcesses, Processes } from '../../scripts/lab/processes.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { shell } from '../kernel/namespace.js';

export const ASN = { here: 64512, router: 4_200_000_001 } as const;
export const HERE = { 4: '169.254.100.1', 6: '100:100::1' } as const;
/** Router r has the reference's address for 0, the next ones for others. */
export const routerAddress = (router: number) =>
  ({ 4: `169.254.100.${150 + router}`, 6: `100:100::${150 + router}` }) as const;
export const VIP4: Prefix = { family: 4, address: '20.0.0.1', length: 32 };
export const VIP6: Prefix = { family: 6, address: '2000::1', length: 128 };

const id = `mm-frontend-${process.pid}`;
export const processes = new Processes(id);
/** Short: a control socket's path has 107 characters at most. */
export const directory = join(tmpdir(), id);

/** Link and addresses of this side, and of as many routers; `ipv4: false` for hosts that have IPv6 alone. */
export function makeNetwork(routers: number, ipv4 = true): void {
  mkdirSync(directory, { mode: 0o700 });
  shell('mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && ip netns add switch');
  shell('ip -n switch link add br0 type bridge && ip -n switch link set br0 up');
  const join = (port: string) => shell(`ip -n switch link set ${port} master br0 up`);
  shell('ip link add ext-vlan0 type veth peer name here netns switch');
  join('here');
  configure('', HERE, ipv4);
  for (let router = 0; router < routers; router++) {
    shell(`ip netns add router${router} && ip -n router${router} link set lo up`);
    shell(`ip -n router${router} link add ext-vlan0 type veth peer name r${router} netns switch`);
    join(`r${router}`);
    configure(`-n router${router}`, routerAddress(router), ipv4);
  }
}

function configure(where: string, address: { 4: string; 6: string }, ipv4: boolean): void {
  if (ipv4) shell(`ip ${where} addr add ${address[4]}/24 dev ext-vlan0`);
  shell(`ip ${where} addr add ${address[6]}/64 dev ext-vlan0 nodad && ip ${where} link set ext-vlan0 up`);
}

/** End routers and remove files; the namespaces go with the test's own. */
export async function endNetwork(): Promise<void> {
  await processes.end();
  await endProcesses(id);
  rmSync(directory, { recursive: true, force: true });
}

export async function startRouter(router: number, plan: Partial<RouterPlan> = {}): Promise<LabBird> {
  const bird = new LabBird(processes, `router${router}`, join(directory, `router${router}`));
  await bird.start(routerPlan(router, plan));
  return bird;
}

export function routerPlan(router: number, plan: Partial<RouterPlan> = {}): RouterPlan {
  return {
    routerId: `10.0.0.${router + 1}`,
    device: 'ext-vlan0',
    asn: ASN.router,
    neighbours: ([4, 6] as const).map(family => ({ family, address: HERE[family], asn: ASN.here })),
    ...plan,
  };
}

export function bgpGateway(router: number, more: Partial<BgpGateway> = {}): BgpGateway {
  return {
    name: `router-${router}`,
    protocol: 'bgp',
    ips: hostsOf(router),
    bfd: null,
    localAsn: ASN.here,
    remoteAsn: ASN.router,
    localPort: 179,
    remotePort: 179,
    holdTimeSeconds: 9,
    passwordFile: null,
    ...more,
  };
}

export function hostsOf(router: number): Host[] {
  return ([4, 6] as const).map(family => ({ family, address: routerAddress(router)[family] }));
}

export function wantedFrontend(more: Partial<WantedFrontend> = {}): WantedFrontend {
  return {
    routerId: '10.0.0.100',
    external: 'ext-vlan0',
    gateways: [bgpGateway(0)],
    ecmp: true,
    announced: [VIP4, VIP6],
    unreachable: new Map(),
    nextHop6: HERE[6],
    ...more,
  };
}

/** What was logged, one text a line; for messages of failing tests. */
export class RecordedLog implements FrontendLog {
  readonly lines: string[] = [];
  debug = (fields: object, message: string) => this.add('debug', fields, message);
  info = (fields: object, message: string) => this.add('info', fields, message);
  warn = (fields: object, message: string) => this.add('warn', fields, message);
  error = (fields: object, message: string) => this.add('error', fields, message);

  private add(level: string, fields: object, message: string): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  }
}

let instances = 0;

export function openFrontend(onChange?: () => void): { frontend: Frontend; log: RecordedLog; files: string } {
  const log = new RecordedLog();
  const files = join(directory, `frontend${instances++}`);
  const frontend = Frontend.open({ directory: files, log });
  if (onChange !== undefined) frontend.onChange = onChange;
  return { frontend, log, files };
}

const SETTLE_MS = 60_000;

/** Resolves with ms that it took. */
export async function until(claim: string, holds: () => boolean | Promise<boolean>): Promise<number> {
  const start = performance.now();
  await waitFor(claim, SETTLE_MS, holds);
  return performance.now() - start;
}

export function allUp({ sessions }: FrontendState): boolean {
  return sessions.length > 0 && sessions.every(({ up }) => up);
}

/** Table 4096 as `ip` shows it. */
export function egressTable(family: 4 | 6): string {
  return shell(`ip -${family} route show table 4096 2>/dev/null || true`);
}
