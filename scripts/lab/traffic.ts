/** The traffic of a topology: a server in each target, and the clients. */
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Answer, ClientReply, ClientRequest, DatagramResult, FragmentCounts, Ping } from './messages.js';
import { TARGETS, TCP_PORT, UDP_PORT, VIP } from './plan.js';
import type { Connection } from './syn.js';
import { Topology } from './topology.js';
import { waitFor } from './wait.js';

const READY_MS = 60_000;
const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Start the server of every target; returns when all of them listen. */
export async function startTargets(
  topology: Topology,
  vips: readonly string[] = [VIP[4], VIP[6]],
): Promise<void> {
  const servers = TARGETS.map(({ identifier }) => {
    const log = join(topology.directory, `target-${identifier}.log`);
    const argv = ['node', program('./target.js'), `${identifier}`, `${TCP_PORT}`, `${UDP_PORT}`, ...vips];
    const child = topology.processes.start([...Topology.inside(topology.target(identifier)), ...argv], log);
    return { child, log };
  });
  for (const { child, log } of servers) {
    await waitFor('a target to listen', READY_MS, () => {
      if (child.exitCode !== null) throw new Error(`a target ended: ${readFileSync(log, 'utf8')}`);
      return readFileSync(log, 'utf8').includes('ready\n');
    });
  }
}

/** The client program of a topology. Every method rejects if it ends. */
export class Clients {
  private readonly waiting = new Map<number, (reply: ClientReply) => void>();
  private readonly ended: Promise<never>;
  private next = 0;

  /** @param namespace default: where the topology has its clients; elsewhere the addresses of its own serve */
  constructor(topology: Topology, namespace = topology.clients) {
    const log = join(topology.directory, `client-${namespace}.log`);
    const argv = [...Topology.inside(namespace), 'node', program('./client.js')];
    this.child = topology.processes.start(argv, log, 'pipes');
    this.ended = new Promise((_, reject) => {
      this.child.on('exit', () => {
        // Gone with the topology's directory, if that was destroyed meanwhile.
        const said = existsSync(log) ? readFileSync(log, 'utf8').trim() : '';
        reject(new Error(`the client program ended: ${said}`));
      });
    });
    this.ended.catch(() => undefined);
    // Its end is told by `ended`.
    this.child.stdin!.on('error', () => undefined);
    createInterface({ input: this.child.stdout! }).on('line', line => {
      const reply = JSON.parse(line) as ClientReply;
      this.waiting.get(reply.number)?.(reply);
      this.waiting.delete(reply.number);
    });
  }

  private readonly child: ChildProcess;

  /** Open connections, in the order given; `keep` them open for `echo`. */
  connect(connections: readonly Connection[], keep = false): Promise<Answer[]> {
    return this.ask({ kind: 'connect', connections, keep });
  }

  /** Whether each of the kept connections returns `text`, in the order in which they were opened. */
  echo(text: string): Promise<boolean[]> {
    return this.ask({ kind: 'echo', text });
  }

  /** Close the kept connections. */
  async close(): Promise<void> {
    await this.ask({ kind: 'close' });
  }

  datagrams(datagrams: readonly Connection[], bytes: number): Promise<DatagramResult[]> {
    return this.ask({ kind: 'datagrams', datagrams, bytes });
  }

  /** Replies to each. */
  ping(pings: readonly Ping[]): Promise<number[]> {
    return this.ask({ kind: 'ping', pings });
  }

  fragments(): Promise<FragmentCounts> {
    return this.ask({ kind: 'fragments' });
  }

  /** End the program. */
  async end(): Promise<void> {
    this.child.stdin!.end();
    await this.ended.catch(() => undefined);
  }

  private async ask<Result>(request: ClientRequest): Promise<Result> {
    const number = this.next++;
    const reply = new Promise<ClientReply>(resolve => this.waiting.set(number, resolve));
    this.child.stdin!.write(`${JSON.stringify({ number, ...request })}\n`);
    const answer = await Promise.race([reply, this.ended]);
    if ('error' in answer) throw new Error(`clients, ${request.kind}: ${answer.error}`);
    return answer.result as Result;
  }
}
