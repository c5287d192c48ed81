/** What the end-to-end tests share: a topology, its daemon's file, and what the kernel lists in its namespace. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../../host/config/load.js';
import { Simulator } from '../../host/simulator/simulator.js';
import type { Family } from '../../host/types/config.js';
import { LabDaemon } from '../../scripts/lab/daemon.js';
import type { Answer } from '../../scripts/lab/messages.js';
import { CLIENTS, clientAddress, TARGETS, TCP_PORT } from '../../scripts/lab/plan.js';
import { type Connection, synPacket } from '../../scripts/lab/syn.js';
import { Topology } from '../../scripts/lab/topology.js';
import { Clients, startTargets } from '../../scripts/lab/traffic.js';
import { waitFor } from '../../scripts/lab/wait.js';

const CLOSED_MS = 60_000;

let logs = 0;

/** The topology's targets, as the lines of a stream's `targets`. */
export const TARGET_LINES = TARGETS.map(
  ({ identifier, ips }) => `      - {identifier: ${identifier}, ips: ["${ips[4]}", "${ips[6]}"]}`,
).join('\n');

/** A topology of its own for the test file, with targets that answer; it ends with the test. */
export async function startLab(
  t: { readonly teardown: (end: () => Promise<void>) => unknown },
  options: Parameters<typeof Topology.reserve>[0] = {},
): Promise<{ readonly topology: Topology; readonly clients: Clients }> {
  const topology = Topology.reserve(options);
  t.teardown(() => topology.destroy());
  try {
    await topology.create();
    await startTargets(topology);
  } catch (error) {
    await topology.destroy();
    throw error;
  }
  return { topology, clients: new Clients(topology) };
}

/** A daemon in the load balancer's namespace with the configuration `text`; it is not yet ready. */
export function startDaemon(
  topology: Topology,
  text: string,
  options: readonly string[] = [],
  namespace = topology.loadBalancer,
  environment: Readonly<Record<string, string>> = {},
  log = join(topology.directory, `daemon-${logs++}.log`),
): LabDaemon {
  writeConfig(topology, text);
  return new LabDaemon(topology, configFile(topology), log, namespace, options, environment);
}

export function configFile(topology: Topology): string {
  return join(topology.directory, 'config.yaml');
}

export function writeConfig(topology: Topology, text: string): void {
  writeFileSync(configFile(topology), text);
}

/** stdout of a command in the load balancer's namespace. */
export async function inLoadBalancer(topology: Topology, ...argv: string[]): Promise<string> {
  const { stdout } = await topology.processes.command([...Topology.inside(topology.loadBalancer), ...argv]);
  return stdout;
}

/**
 * Everything that the daemon could have made, as text. Left out: packet counts, and the kernel's own table local,
 * which grows by itself (link-local addresses, anycast addresses of a host that forwards).
 */
export async function kernelState(topology: Topology): Promise<string> {
  const listings = await Promise.all(
    [
      ['nft', 'list', 'ruleset'],
      ['ip', '-4', 'rule'],
      ['ip', '-6', 'rule'],
      ['ip', '-4', 'route', 'show', 'table', 'all'],
      ['ip', '-6', 'route', 'show', 'table', 'all'],
    ].map(argv => inLoadBalancer(topology, ...argv)),
  );
  return listings
    .join('\n')
    .replace(/packets \d+ bytes \d+/g, 'packets N bytes N')
    .replace(/^.* table local .*\n/gm, '');
}

/**
 * As `kernelState`, without what depends on the past: priorities of targets' rules, and the order in which the kernel lists
 * what was made one after the other.
 */
export async function comparableState(topology: Topology): Promise<string> {
  const text = (await kernelState(topology)).replace(/^\d\d?:(\tfrom all fwmark)/gm, 'N:$1');
  const tables = [...text.matchAll(/^(table .*?\n)(.*?)^\}$/gms)].map(([, name, contents]) => {
    return [name!, ...contents!.trimEnd().split('\n\n').sort()].join('\n');
  });
  const others = text.replace(/^table .*?^\}$/gms, '').split('\n');
  return [...tables.sort(), ...others.filter(line => line !== '').sort()].join('\n');
}

/** What the offline core says of each connection: the target's identifier, null where it is dropped. */
export function predict(text: string, connections: readonly Connection[]): (number | null)[] {
  const simulator = Simulator.fromConfig(loadConfig(text, 'config.yaml'));
  return connections.map(connection => simulator.decide(synPacket(connection)).identifier);
}

export function answered(answers: readonly Answer[]): (number | null)[] {
  return answers.map(answer => ('identifier' in answer ? answer.identifier : null));
}

/** Until no connection of `namespace` has anything more to send: what ends may do so a while after its program is done with it. */
export async function untilClosed(topology: Topology, namespace: string): Promise<void> {
  const argv = [...Topology.inside(namespace), 'ss', '-tnH'];
  await waitFor(`connections of ${namespace} to end`, CLOSED_MS, async () => {
    // Without the states LISTEN and TIME-WAIT.
    return (await topology.processes.command(argv)).stdout.trim() === '';
  });
}

/** `count` connections from all clients to `destinations` in turn, with source ports from `port` on. */
export function connectionsTo(
  family: Family,
  destinations: readonly string[],
  count: number,
  port: number,
  destinationPort = TCP_PORT,
): Connection[] {
  return Array.from({ length: count }, (_, index) => ({
    family,
    source: clientAddress(family, index % CLIENTS),
    sourcePort: port + index,
    destination: destinations[index % destinations.length]!,
    destinationPort,
  }));
}
