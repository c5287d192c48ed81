/** SCTP associations with real sockets from the clients to the VIPs, beside what the core says offline. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../../host/config/load.js';
import { Simulator } from '../../host/simulator/simulator.js';
import type { Family } from '../../host/types/config.js';
import { connections } from '../lab/connections.js';
import { GREETING } from '../lab/messages.js';
import { TARGETS, VIP } from '../lab/plan.js';
import { type Connection, synPacket } from '../lab/syn.js';
import { Topology } from '../lab/topology.js';
import { waitFor } from '../lab/wait.js';
import type { SctpFigures } from './report.js';

const SCTP_PORT = 4002;
const SCTP = 132;
const ASSOCIATIONS = 64;
const READY_MS = 30_000;

/** For the end of the demonstration's configuration. */
export const SCTP_FLOW = `  - name: flow-a-z-sctp
    stream: stream-a-i
    priority: 1
    protocols: [sctp]
    vips: [20.0.0.1/32, 2000::1/128]
    destinationPortRanges: ["${SCTP_PORT}"]
`;

/** Start a server in every target; returns when all of them listen. @throws Error with what one of them said */
export async function startSctpTargets(topology: Topology, program: string): Promise<void> {
  for (const { identifier } of TARGETS) {
    const log = join(topology.directory, `sctp-${identifier}.log`);
    const argv = [program, 'server', `${identifier}`, `${SCTP_PORT}`, VIP[4], VIP[6]];
    const child = topology.processes.start([...Topology.inside(topology.target(identifier)), ...argv], log);
    await waitFor('an SCTP target to listen', READY_MS, () => {
      const said = readFileSync(log, 'utf8');
      if (child.exitCode !== null) throw new Error(`an SCTP target ended: ${said}`);
      return said.includes('ready\n');
    });
  }
}

/** @param config text of the daemon's configuration */
export async function associations(
  topology: Topology,
  program: string,
  config: string,
): Promise<{ ipv4: SctpFigures; ipv6: SctpFigures }> {
  const simulator = Simulator.fromConfig(loadConfig(config, 'config.yaml'));
  const figures = async (family: Family): Promise<SctpFigures> => {
    const attempted = connections(family, ASSOCIATIONS, 20_000, SCTP_PORT);
    const answers = await associate(topology, program, attempted);
    const identifiers = answers.map(answer => GREETING.exec(`${answer}\n`)?.[1]).map(Number);
    const predicted = attempted.map(each => simulator.decide(initPacket(each)).identifier);
    return {
      attempted: attempted.length,
      answered: identifiers.filter(Number.isInteger).length,
      asPredicted: identifiers.filter((identifier, index) => identifier === predicted[index]).length,
      firstError: answers.find((_, index) => !Number.isInteger(identifiers[index])) ?? null,
      targets: [...new Set(identifiers.filter(Number.isInteger))].sort((one, other) => one - other),
    };
  };
  return { ipv4: await figures(4), ipv6: await figures(6) };
}

/** What the client program prints for each. */
function associate(topology: Topology, program: string, attempted: readonly Connection[]): Promise<string[]> {
  const requests = attempted.map(each =>
    [each.source, each.sourcePort, each.destination, each.destinationPort].join(' '),
  );
  const [first, ...rest] = [...Topology.inside(topology.gateway), program, 'client'];
  return new Promise((resolve, reject) => {
    // The run's own commands end after 20 s, and who waits in vain for 64 answers takes longer.
    const child = execFile(first!, rest, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`sctp client: ${stderr.trim() || error.message}`));
      else resolve(stdout.trimEnd().split('\n'));
    });
    child.stdin!.on('error', () => undefined);
    child.stdin!.end(`${requests.join('\n')}\n`);
  });
}

/** The ports stand where those of TCP stand (RFC 9260 section 3.1), and the core reads no more of SCTP. */
function initPacket(connection: Connection): Uint8Array {
  const packet = synPacket(connection);
  packet[connection.family === 4 ? 9 : 6] = SCTP;
  return packet;
}
