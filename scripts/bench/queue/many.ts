/** magmark's daemon with so many targets, in a network of its own: rules, routes, queue and core as an operator has them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StatusReply } from '../../../host/control/api.js';
import { MAGMARK } from '../../lab/daemon.js';
import { waitFor } from '../../lab/wait.js';
import type { Compiled } from './compile.js';
import { type Contestant, QUEUE_LENGTH } from './contestant.js';
import { hopOf, QueueNetwork, VIP } from './network.js';
import { PLACEMENT } from './placement.js';

const QUEUE = 0;
const READY_MS = 60_000;
/** No target of a stream has another's address, and the kernel holds 1,024 neighbours of all namespaces by default. */
const HOPS = 200;
/** Ports that packets come from, see flood.c. */
const PORTS = { first: 10_000, count: 4096 };

export interface Crowd {
  readonly targets: number;
  readonly network: QueueNetwork;
  readonly contestant: Contestant;
}

/** @returns once every target takes traffic */
export async function crowd(compiled: Compiled, targets: number, made: QueueNetwork[]): Promise<Crowd> {
  const network = new QueueNetwork(compiled, Math.min(targets, HOPS));
  made.push(network);
  await network.create();
  const file = (name: string): string => join(network.directory, name);
  writeFileSync(file('config.yaml'), configOf(targets));
  const command = [...network.inside('balancer'), ...PLACEMENT.answerer, process.execPath, MAGMARK];
  const socket = ['--socket', file('s')];
  const files = [...socket, '--journal', file('journal'), '--state', file('state.json')];
  const logFile = network.log('magmark');
  const daemon = network.processes.start(
    [...command, 'run', '--config', file('config.yaml'), ...files],
    logFile,
  );
  await waitFor(`${targets} targets to take traffic (see ${logFile})`, READY_MS, async () => {
    if (daemon.exitCode !== null)
      throw new Error(`magmark ended with ${daemon.exitCode}: ${readFileSync(logFile, 'utf8')}`);
    const words = [...command, 'status', '--json', ...socket];
    const { stdout, code } = await network.processes.command(words, { mayFail: true });
    if (code !== 0) return false;
    const { targets: told } = JSON.parse(stdout) as StatusReply;
    return told.length === targets && told.every(({ pending }) => pending === null);
  });
  return {
    targets,
    network,
    contestant: {
      name: `${targets} targets`,
      destination: VIP,
      queue: QUEUE,
      start: () => Promise.resolve(daemon.pid!),
      stop: () => Promise.resolve(null),
    },
  };
}

/** Streams of up to HOPS targets, each with its equal part of the sender's ports. */
function configOf(targets: number): string {
  const counts = Array.from({ length: Math.ceil(targets / HOPS) }, (_, at) =>
    Math.min(HOPS, targets - at * HOPS),
  );
  const portAt = (at: number): number => PORTS.first + Math.floor((at * PORTS.count) / counts.length);
  return JSON.stringify({
    queues: QUEUE,
    queueLength: QUEUE_LENGTH,
    shutdownDelay: '0s',
    interfaces: { external: 'ext-vlan0', internal: ['conduit'] },
    vips: [`${VIP}/32`],
    gateways: [{ name: 'sender', protocol: 'static', ips: ['10.0.0.1'] }],
    streams: counts.map((count, at) => ({
      name: `s${at}`,
      maxTargets: HOPS,
      targets: Array.from({ length: count }, (_, index) => ({ identifier: index + 1, ips: [hopOf(index)] })),
    })),
    flows: counts.map((_, at) => ({
      name: `f${at}`,
      stream: `s${at}`,
      priority: 1,
      vips: [`${VIP}/32`],
      ...(counts.length > 1 && {
        protocols: ['udp'],
        sourcePortRanges: [`${portAt(at)}-${portAt(at + 1) - 1}`],
      }),
    })),
  });
}
