/** Packets of which none may be lost while something happens: datagrams that are counted, and TCP connections. */
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Pair, TARGETS, UDP_PORT } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { PacketCount } from './packet-count.js';

const PROGRAM = fileURLToPath(new URL('./udp-load.js', import.meta.url));
/** What is sent arrives within microseconds, unless it is lost. */
const ARRIVE_MS = 2000;

/** Nobody listens there: datagrams are counted in the targets' namespaces, and dropped before they cost more. */
export const LOAD_PORT = UDP_PORT + 1;

export interface LoadFigures {
  readonly sent: number;
  /** By the target's identifier. */
  readonly arrived: Readonly<Record<number, number>>;
  readonly lost: number;
  readonly perSecond: number;
}

export class Load {
  private constructor(
    private readonly end: () => Promise<{ taken: number; failed: number; seconds: number }>,
    private readonly counts: ReadonlyMap<number, PacketCount<'arrived'>>,
    private readonly before: ReadonlyMap<number, number>,
  ) {}

  private static readonly counting = new WeakMap<Topology, ReadonlyMap<number, PacketCount<'arrived'>>>();

  /** Returns when it runs. */
  static async start(topology: Topology, vips: readonly Pair[], perSecond: number): Promise<Load> {
    const counts = Load.counting.get(topology) ?? (await startCounts(topology));
    Load.counting.set(topology, counts);
    const destinations = vips.flatMap(pair => [`4:${pair[4]}:${LOAD_PORT}`, `6:${pair[6]}:${LOAD_PORT}`]);
    const argv = ['node', PROGRAM, `${perSecond}`, ...destinations];
    const log = join(topology.directory, 'udp-load.log');
    const before = await arrivals(counts);
    const child = topology.processes.start([...Topology.inside(topology.clients), ...argv], log, 'pipes');
    const lines: string[] = [];
    createInterface({ input: child.stdout! }).on('line', line => lines.push(line));
    await waitFor(`the load to begin (see ${log})`, 20_000, () => lines.includes('ready'));
    const end = async () => {
      child.stdin!.end();
      if (child.exitCode === null) await once(child, 'close');
      return JSON.parse(lines.at(-1)!);
    };
    return new Load(end, counts, before);
  }

  /** Datagrams that have arrived so far. */
  async arrivedSoFar(): Promise<number> {
    return sum((await this.arrived()).values());
  }

  /** End it, and wait for what is on its way. */
  async stop(): Promise<LoadFigures> {
    const { taken, failed, seconds } = await this.end();
    if (failed > 0) throw new Error(`${failed} datagrams could not be sent`);
    const all = async () => (await this.arrivedSoFar()) === taken;
    // Otherwise the figures tell.
    await waitFor('all to arrive', ARRIVE_MS, all).catch(() => null);
    const arrived = await this.arrived();
    return {
      sent: taken,
      arrived: Object.fromEntries(arrived),
      lost: taken - sum(arrived.values()),
      perSecond: Math.round(taken / seconds),
    };
  }

  private async arrived(): Promise<Map<number, number>> {
    const now = await arrivals(this.counts);
    return new Map([...now].map(([identifier, count]) => [identifier, count - this.before.get(identifier)!]));
  }
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((one, other) => one + other, 0);

async function startCounts(topology: Topology): Promise<ReadonlyMap<number, PacketCount<'arrived'>>> {
  const counts = new Map<number, PacketCount<'arrived'>>();
  for (const { identifier } of TARGETS) {
    const namespace = topology.target(identifier);
    const rule = { arrived: `udp dport ${LOAD_PORT}` };
    counts.set(identifier, await PacketCount.start(topology, namespace, rule, 'drop'));
  }
  return counts;
}

async function arrivals(
  counts: ReadonlyMap<number, PacketCount<'arrived'>>,
): Promise<ReadonlyMap<number, number>> {
  const found = await Promise.all(
    [...counts].map(async ([identifier, count]) => [identifier, (await count.read()).arrived] as const),
  );
  return new Map(found);
}
