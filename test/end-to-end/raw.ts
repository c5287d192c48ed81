/** Raw packets into and out of the namespaces of a topology. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CONDUITS, EXTERNAL, type LabTarget, TARGETS } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';

const PROGRAM = fileURLToPath(new URL('../../../test/end-to-end/raw.py', import.meta.url));
const READY_MS = 60_000;

/** Send packets from the gateway to the load balancer, as they are. @param perSecond default: as fast as it goes */
export function sendRaw(
  topology: Topology,
  packets: readonly Uint8Array[],
  perSecond?: number,
): Promise<void> {
  return send(topology, topology.gateway, EXTERNAL.name, EXTERNAL.loadBalancer[4], packets, perSecond);
}

/** Send packets from a target to the load balancer, as they are. */
export function sendRawFromTarget(
  topology: Topology,
  { identifier, conduit }: LabTarget,
  packets: readonly Uint8Array[],
): Promise<void> {
  const { loadBalancer } = CONDUITS[conduit]!;
  return send(topology, topology.target(identifier), 'conduit', loadBalancer[4], packets);
}

async function send(
  topology: Topology,
  namespace: string,
  device: string,
  neighbour: string,
  packets: readonly Uint8Array[],
  perSecond?: number,
): Promise<void> {
  const pace = perSecond === undefined ? [] : [`${perSecond}`];
  const argv = [...Topology.inside(namespace), 'python3', PROGRAM, 'send', device, neighbour, ...pace];
  const input = packets.map(packet => `${Buffer.from(packet).toString('hex')}\n`).join('');
  await topology.processes.command(argv, { input });
}

/** What comes in on one interface. */
export class Listener {
  readonly packets: Uint8Array[] = [];
  private ready = false;

  private constructor(
    private readonly child: ChildProcess,
    private readonly log: string,
  ) {
    createInterface({ input: child.stdout! }).on('line', line => {
      if (line === 'ready') this.ready = true;
      else this.packets.push(Buffer.from(line, 'hex'));
    });
  }

  static async start(topology: Topology, namespace: string, device: string): Promise<Listener> {
    const log = join(topology.directory, `listener-${namespace}.log`);
    const argv = [...Topology.inside(namespace), 'python3', PROGRAM, 'receive', device];
    const listener = new Listener(topology.processes.start(argv, log, 'pipes'), log);
    await waitFor('a listener to be ready', READY_MS, () => {
      if (listener.child.exitCode !== null)
        throw new Error(`a listener ended: ${readFileSync(listener.log, 'utf8')}`);
      return listener.ready;
    });
    return listener;
  }
}

/** A listener in every target, by identifier. */
export async function listenInTargets(topology: Topology): Promise<Map<number, Listener>> {
  const listeners = await Promise.all(
    TARGETS.map(async ({ identifier }) => {
      const listener = await Listener.start(topology, topology.target(identifier), 'conduit');
      return [identifier, listener] as const;
    }),
  );
  return new Map(listeners);
}
