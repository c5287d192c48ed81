/** Packets of which none may be lost while something happens: datagrams that are counted, and TCP connections. */
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Pair, TARGETS, TCP_PORT, UDP_PORT } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { PacketCount } from './packet-count.js';

const PROGRAM = fileURLToPath(new URL('./udp-load.js', import.meta.url));
/** What is sent arrives within microseconds, unless it is lost. */
const ARRIVE_MS = 10_000;

/** Nobody listens there: datagrams are counted in the targets' namespaces, and dropped before they cost more. */
export const LOAD_PORT = UDP_PORT + 1;

export interface LoadFigures {
  readonly sent: number;
  /** Datagrams by the target's identifier. */
  readonly arrived: Readonly<Record<number, number>>;
  readonly lost: number;
  readonly perSecond: number;
  /** Packets of TCP, of all connections of the clients meanwhile. */
  readonly tcp: { readonly sent: number; readonly answers: number; readonly lost: number };
}

type Counted = 'datagrams' | 'requests' | 'answers';
type Counts = Readonly<Record<Counted, number>>;

interface Counters {
  readonly clients: PacketCount<'requests' | 'answers'>;
  readonly targets: ReadonlyMap<number, PacketCount<Counted>>;
}

interface Reading {
  readonly clients: Omit<Counts, 'datagrams'>;
  readonly targets: ReadonlyMap<number, Counts>;
}

const counting = new WeakMap<Topology, Counters>();

export class Load {
  private constructor(
    private readonly end: () => Promise<{ taken: number; failed: number; seconds: number }>,
    private readonly counters: Counters,
    private readonly before: Reading,
  ) {}

  /** Returns when it runs. */
  static async start(topology: Topology, vips: readonly Pair[], perSecond: number): Promise<Load> {
    const counters = counting.get(topology) ?? (await startCounting(topology));
    counting.set(topology, counters);
    const destinations = vips.flatMap(pair => [`4:${pair[4]}:${LOAD_PORT}`, `6:${pair[6]}:${LOAD_PORT}`]);
    const argv = ['node', PROGRAM, `${perSecond}`, ...destinations];
    const log = join(topology.directory, 'udp-load.log');
    const before = await read(counters);
    const child = topology.processes.start([...Topology.inside(topology.clients), ...argv], log, 'pipes');
    const lines: string[] = [];
    createInterface({ input: child.stdout! }).on('line', line => lines.push(line));
    await waitFor(`the load to begin (see ${log})`, 60_000, () => lines.includes('ready'));
    const end = async () => {
      child.stdin!.end();
      if (child.exitCode === null) await once(child, 'close');
      return JSON.parse(lines.at(-1)!);
    };
    return new Load(end, counters, before);
  }

  /** End it, and wait for what is on its way. */
  async stop(): Promise<LoadFigures> {
    const { taken, failed, seconds } = await this.end();
    if (failed > 0) throw new Error(`${failed} datagrams could not be sent`);
    let latest = await this.figures(taken, seconds);
    const none = async () => {
      latest = await this.figures(taken, seconds);
      return latest.lost === 0 && latest.tcp.lost === 0;
    };
    // Otherwise the figures tell. They are read one after the other, while segments that are sent again may be under way.
    await waitFor('all to arrive', ARRIVE_MS, none).catch(() => null);
    return latest;
  }

  private async figures(sent: number, seconds: number): Promise<LoadFigures> {
    const now = await read(this.counters);
    const arrived = [...now.targets].map(
      ([identifier, { datagrams }]) =>
        [identifier, datagrams - this.before.targets.get(identifier)!.datagrams] as const,
    );
    const ofClients = (what: 'requests' | 'answers') => now.clients[what] - this.before.clients[what];
    const ofTargets = (what: Counted) => sumOf(now, what) - sumOf(this.before, what);
    return {
      sent,
      arrived: Object.fromEntries(arrived),
      lost: sent - ofTargets('datagrams'),
      perSecond: Math.round(sent / seconds),
      tcp: {
        sent: ofClients('requests'),
        answers: ofTargets('answers'),
        lost: ofClients('requests') - ofTargets('requests') + ofTargets('answers') - ofClients('answers'),
      },
    };
  }
}

const sumOf = ({ targets }: Reading, what: Counted): number =>
  [...targets.values()].reduce((sum, counts) => sum + counts[what], 0);

async function startCounting(topology: Topology): Promise<Counters> {
  const to = `tcp dport ${TCP_PORT}`;
  const from = `tcp sport ${TCP_PORT}`;
  const out = { at: 'out', verdict: 'continue' } as const;
  const clients = await PacketCount.start(topology, topology.clients, {
    requests: { match: to, ...out },
    answers: from,
  });
  const targets = new Map<number, PacketCount<Counted>>();
  for (const { identifier } of TARGETS) {
    const count = await PacketCount.start(topology, topology.target(identifier), {
      datagrams: { match: `udp dport ${LOAD_PORT}`, at: 'in', verdict: 'drop' },
      requests: to,
      answers: { match: from, ...out },
    });
    targets.set(identifier, count);
  }
  return { clients, targets };
}

async function read({ clients, targets }: Counters): Promise<Reading> {
  const ofTargets = [...targets].map(
    async ([identifier, count]) => [identifier, await count.read()] as const,
  );
  return { clients: await clients.read(), targets: new Map(await Promise.all(ofTargets)) };
}
