/** A steady stream of new connections while something happens. */
import type { Answer } from '../../scripts/lab/messages.js';
import type { Connection } from '../../scripts/lab/syn.js';
import { Topology } from '../../scripts/lab/topology.js';
import type { Clients } from '../../scripts/lab/traffic.js';

export interface Steady<Result> {
  readonly result: Result;
  readonly connections: readonly Connection[];
  /** In the order of the connections. */
  readonly answers: readonly Answer[];
  /** Segments that the clients' kernel sent again meanwhile: packets that were lost, or late. */
  readonly retransmitted: number;
}

/** Batches of new connections, one after the other, from before `work` begins until after it has ended. */
export async function connectingDuring<Result>(
  topology: Topology,
  clients: Clients,
  batch: () => readonly Connection[],
  work: () => Promise<Result>,
): Promise<Steady<Result>> {
  const connections: Connection[] = [];
  const answers: Answer[] = [];
  const round = async (): Promise<void> => {
    const next = batch();
    connections.push(...next);
    answers.push(...(await clients.connect(next)));
  };
  const before = await retransmissions(topology);
  await round();
  let over = false;
  const working = work().finally(() => {
    over = true;
  });
  // It is awaited below, whatever becomes of the rounds.
  working.catch(() => undefined);
  while (!over) await round();
  await round();
  return {
    result: await working,
    connections,
    answers,
    retransmitted: (await retransmissions(topology)) - before,
  };
}

/** `RetransSegs` of RFC 4022, of the clients' namespace. */
async function retransmissions(topology: Topology): Promise<number> {
  const argv = [...Topology.inside(topology.clients), 'cat', '/proc/net/snmp'];
  const lines = (await topology.processes.command(argv)).stdout.split('\n');
  const [names, values] = lines.filter(line => line.startsWith('Tcp: ')).map(line => line.split(' '));
  return Number(values![names!.indexOf('RetransSegs')]);
}
