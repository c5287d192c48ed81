/** Daemons that take over from each other behind a gateway with BGP, under load. */
import { existsSync, readFileSync } from 'node:fs';
import type { Test } from 'tap';
import type { StatusReply } from '../../host/control/api.js';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { CLIENTS, clientAddress, FAMILIES, TCP_PORT } from '../../scripts/lab/plan.js';
import type { Connection } from '../../scripts/lab/syn.js';
import { A, B, bgpConfig, hosts, sessionsUp } from './bgp.js';
import { BgpLab } from './bgp-lab.js';
import { startDaemon } from './lab.js';
import { LOAD_PORT } from './load.js';

const vips = (pair: typeof A) =>
  `[${hosts(pair)
    .map(vip => `"${vip}"`)
    .join(', ')}]`;

/**
 * What both streams serve, by TCP and by the datagrams of the load. A busy machine is no reason for BFD to end a session, and
 * none for a queue to be full while the workers wait for a processor.
 */
export const ONE = bgpConfig({
  bfd: '{minRx: 1000ms, minTx: 300ms, multiplier: 20}',
  more: `  - {name: a-udp, stream: a, priority: 1, protocols: [udp], vips: ${vips(A)}, destinationPortRanges: ["${LOAD_PORT}"]}
  - {name: b-udp, stream: b, priority: 1, protocols: [udp], vips: ${vips(B)}, destinationPortRanges: ["${LOAD_PORT}"]}
queueLength: 8192
`,
});
const SIXTY_NINE = '      - {identifier: 69, ips: [172.16.0.6, "fd00::6"]}\n';
const FORTY_FOUR = '      - {identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}\n';
/** Another target in the place of one of stream a, one less in stream b, and a flow that is tried first. */
export const OTHER = ONE.replace(FORTY_FOUR, '')
  .replace(SIXTY_NINE, FORTY_FOUR)
  .replace(
    'flows:\n',
    `flows:\n  - {name: high, stream: b, priority: 9, protocols: [tcp], vips: ${vips(A)}, destinationPortRanges: ["4000"], sourcePortRanges: ["20000-20999"]}\n`,
  );

/** Of the batches: `OTHER` sends some of them elsewhere. */
const FIRST_PORT = 20_000;
const PORTS = 2000;

/** BIRD derives the time of day anew for each answer. */
const ROUNDING_MS = 500;

export class TakeoverLab {
  private port = 0;

  private constructor(readonly bgp: BgpLab) {}

  static async create(): Promise<TakeoverLab> {
    return new TakeoverLab(await BgpLab.create());
  }

  get topology() {
    return this.bgp.topology;
  }

  start(
    text: string,
    options: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): LabDaemon {
    return startDaemon(this.topology, text, options, this.topology.loadBalancer, environment);
  }

  takeOver(text: string, environment: Readonly<Record<string, string>> = {}): LabDaemon {
    return this.start(text, ['--takeover'], environment);
  }

  /** Returns when the gateway sends to all VIPs. */
  async serving(text: string): Promise<LabDaemon> {
    const daemon = this.start(text);
    await daemon.ready();
    await this.announced(daemon);
    return daemon;
  }

  /** Returns the one that has taken over when `former` has left. */
  async succeeding(
    former: LabDaemon,
    text: string,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<LabDaemon> {
    const successor = this.takeOver(text, environment);
    await successor.ready();
    await former.ended();
    return successor;
  }

  async announced(daemon: LabDaemon): Promise<void> {
    await sessionsUp(daemon, 2);
    await this.bgp.untilKnown(A);
    await this.bgp.untilKnown(B);
  }

  /** Connections to all VIPs, with source ports that none had for long. */
  batch(): Connection[] {
    const number = this.port++;
    return [A, B].flatMap(pair =>
      FAMILIES.flatMap(family =>
        Array.from({ length: 4 }, (_, index) => ({
          family,
          source: clientAddress(family, (4 * Math.floor(number / PORTS) + index) % CLIENTS),
          sourcePort: FIRST_PORT + (number % PORTS),
          destination: pair[family],
          destinationPort: TCP_PORT,
        })),
      ),
    );
  }

  /** That the gateway has not lost a route to a VIP since, nor a session ended. */
  expectAnnounced(t: Test, since: number, before: StatusReply, after: StatusReply): void {
    const lost = this.bgp.there
      .events()
      .filter(
        ({ at, text }) =>
          at >= since && hosts(A, B).some(vip => text.startsWith(`Deleted ${vip.split('/')[0]} `)),
      )
      .map(({ text }) => text);
    t.strictSame(lost, [], 'the gateway lost no route to a VIP');
    t.equal(after.bird.pid, before.bird.pid, 'BIRD is the same');
    const begins = ({ gateways }: StatusReply) =>
      gateways.flatMap(({ sessions }) => sessions.map(session => Date.parse(session.since!)));
    const earlier = begins(before);
    t.ok(
      begins(after).every((begin, index) => Math.abs(begin - earlier[index]!) < ROUNDING_MS),
      'its sessions are as old as before',
    );
  }
}

/** Of the queues that it has bound. */
export async function queueNumbers(daemon: LabDaemon): Promise<number[]> {
  return (await daemon.status()).queues.map(({ queue }) => queue);
}

export function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}
