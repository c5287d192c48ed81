/** Transfers that never fragment, between the clients and the targets of a topology: see transfer.py. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TARGETS, TCP_PORT, UDP_PORT, VIP } from '../../scripts/lab/plan.js';
import type { Connection } from '../../scripts/lab/syn.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';

/** What a sender knows of its way, in bytes. */
export interface Way {
  /** Payload of a segment. */
  readonly mss: number;
  readonly pmtu: number;
}

export interface Transfer {
  readonly identifier: number;
  /** Every byte arrived: its digest is that of what was sent. */
  readonly intact: boolean;
  /** Of its sender, before the first byte; announced: the MSS that the receiver asked for. */
  readonly before: Way & { readonly announced: number };
  readonly after: Way;
}

export interface DatagramExchange {
  /** Too big, too big again, and one that fits: length of the answer, or the name of the error. */
  readonly requests: readonly (number | string | null)[];
  /** Bytes, as the client's kernel has it then. */
  readonly pmtu: number;
  /** Too big for the way back, and one that fits. */
  readonly answers: readonly (number | string | null)[];
}

/** Payloads in bytes. */
export interface DatagramSizes {
  readonly request: number;
  readonly answer: number;
  readonly fits: number;
}

const PROGRAM = fileURLToPath(new URL('../../../test/end-to-end/transfer.py', import.meta.url));
const READY_MS = 60_000;
const DEADLINE_MS = 30_000;

/** A server in every target; returns when all of them listen. */
export async function serveTransfers(topology: Topology): Promise<void> {
  await Promise.all(
    TARGETS.map(async ({ identifier }) => {
      const namespace = topology.target(identifier);
      const log = join(topology.directory, `transfer-${identifier}.log`);
      const numbers = [identifier, TCP_PORT, UDP_PORT].map(String);
      const argv = ['python3', PROGRAM, 'serve', ...numbers, VIP[4], VIP[6]];
      const server = topology.processes.start([...Topology.inside(namespace), ...argv], log);
      await waitFor(`a target to serve (see ${log})`, READY_MS, () => {
        if (server.exitCode !== null) throw new Error(`a target ended: ${readFileSync(log, 'utf8')}`);
        return readFileSync(log, 'utf8').includes('ready');
      });
    }),
  );
}

/** What becomes of transfers that begin at once, in the order given. */
export function transfer(
  topology: Topology,
  kind: 'upload' | 'download',
  connections: readonly Connection[],
  bytes: number,
): Promise<(Transfer | { readonly error: string })[]> {
  return run(topology, kind, { connections, bytes });
}

/** Datagrams with DF there and back. */
export function exchangeDatagrams(
  topology: Topology,
  connections: readonly Connection[],
  sizes: DatagramSizes,
): Promise<(DatagramExchange | { readonly error: string })[]> {
  return run(topology, 'datagrams', { connections, ...sizes });
}

async function run<Result>(topology: Topology, command: string, request: object): Promise<Result[]> {
  const argv = [...Topology.inside(topology.clients), 'python3', PROGRAM, command];
  const input = JSON.stringify({ deadlineMs: DEADLINE_MS, ...request });
  return JSON.parse((await topology.processes.command(argv, { input })).stdout) as Result[];
}
