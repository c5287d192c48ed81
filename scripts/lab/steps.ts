import type { LabDaemon } from './daemon.js';
import type { Expectations } from './expectations.js';
import type { LabGateway } from './gateway.js';
import { withdrawnFirst } from './gateway-steps.js';
import { KernelWatch } from './kernel-watch.js';
import { FWMARK_OFFSET, kernelState, LISTINGS, lookupOf, runListing } from './listings.js';
import { CONDUITS, FAMILIES, FAMILY_NAMES, REFERENCE_LOOKUP, TARGETS } from './plan.js';
import type { Prediction } from './prediction.js';
import { indented } from './report.js';
import type { Topology } from './topology.js';
import type { Clients } from './traffic.js';

/** Default of the configuration. */
const SHUTDOWN_DELAY_MS = 1000;

/** What the steps work with. */
export interface Scene {
  readonly topology: Topology;
  readonly daemon: LabDaemon;
  readonly gateway: LabGateway;
  readonly clients: Clients;
  readonly expectations: Expectations;
  readonly prediction: Prediction;
  /** For people. */
  readonly say: (text: string) => void;
}

/** Every listing of the reference document. @returns the first slots of the table, as `nfqlb show` prints them */
export async function showListings({ topology, daemon, expectations, say }: Scene): Promise<number[]> {
  const texts = await Promise.all(
    LISTINGS.map(async each => (await runListing(topology, daemon, each)).stdout),
  );
  const found = new Map(
    LISTINGS.map(({ argv }, index) => [argv.slice(argv[0] === 'node' ? 2 : 0).join(' '), texts[index]!]),
  );
  LISTINGS.forEach(({ title, argv }, index) => {
    say(`  ${title}: ${argv.join(' ')}\n${indented(texts[index]!)}`);
  });

  const lookup = lookupOf(found.get('show --shm=tshm-stream-a-i')!);
  expectations.same("the table is the reference's", lookup.join(' '), REFERENCE_LOOKUP.join(' '));
  for (const family of FAMILIES) {
    const ip = family === 4 ? 'ip' : 'ip -6';
    // The first target of the file has the highest priority.
    const wanted = TARGETS.map(({ identifier }, index) => {
      const table = FWMARK_OFFSET + identifier;
      return `${99 - index}: from all fwmark 0x${table.toString(16)} lookup ${table}`;
    });
    const rules = linesOf(found.get(`${ip} rule`)!).filter(line =>
      /^\d+: from all fwmark 0x13[0-9a-f]{2} lookup 50\d\d$/.test(line),
    );
    expectations.same(
      `the ${FAMILY_NAMES[family]} rules are the reference's`,
      rules.join('\n'),
      wanted.reverse().join('\n'),
    );
    for (const { identifier, conduit, ips } of TARGETS) {
      const table = FWMARK_OFFSET + identifier;
      const route = `default via ${ips[family]} dev ${CONDUITS[conduit]!.name}`;
      const first = linesOf(found.get(`${ip} route show table ${table}`)!)[0] ?? '';
      expectations.expect(
        `${FAMILY_NAMES[family]} table ${table} leads to its target`,
        `${first} `.startsWith(`${route} `),
        first,
      );
    }
  }
  return lookup;
}

/** Lines without the columns' padding. */
const linesOf = (text: string): string[] =>
  text
    .trim()
    .split('\n')
    .map(line => line.trim().replace(/\s+/g, ' '));

/** What the daemon counted of all this. */
export async function counters({ daemon, expectations }: Scene, tcpConnections: number): Promise<void> {
  const flows = JSON.parse((await daemon.nfqlb(['flow-list'])).stdout) as {
    name: string;
    matches_count: number;
  }[];
  const matches = flows.find(flow => flow.name === 'tshm-stream-a-i-flow-a-z-tcp')?.matches_count ?? 0;
  // A connection takes a SYN, an ACK and what ends it, at least.
  const least = tcpConnections * 3;
  expectations.expect(
    'the flow counts its packets',
    matches >= least,
    `${matches} matches, at least ${least} were sent`,
  );
  const queues = (await daemon.status()).queues;
  expectations.expect(
    'every queue worked',
    queues.every(queue => queue.packets > 0),
    queues.map(queue => `queue ${queue.queue}: ${queue.packets} packets`).join(', '),
  );
  const dropped = queues.reduce((sum, queue) => sum + queue.dropped, 0);
  expectations.expect('no queue overflowed', dropped === 0, `${dropped} dropped`);
}

export interface StopFigures {
  readonly milliseconds: number;
  /** From the loss of the VIPs in the gateway to that of the first rule here. */
  readonly withdrawnBeforeMs: number | null;
}

/** Stop it, and look whether the gateway was told first, and whether the kernel is as it was. */
export async function stop(scene: Scene, before: string): Promise<StopFigures> {
  const { topology, daemon, gateway, expectations } = scene;
  const gatewayWatch = await KernelWatch.start(topology, gateway.namespace, 'route');
  const watch = await KernelWatch.start(topology, topology.loadBalancer, 'rule');
  const { milliseconds, limit, code } = await daemon.stop('SIGTERM');
  const ended = `exit code ${code} after ${milliseconds} ms, ${SHUTDOWN_DELAY_MS} of them of forwarding`;
  expectations.expect(
    'SIGTERM ends the daemon with 0 within 2 s of an idle machine, and its shutdownDelay',
    code === 0 && milliseconds - SHUTDOWN_DELAY_MS < limit,
    `${ended}, of ${limit + SHUTDOWN_DELAY_MS} that this machine has just now`,
  );
  const figures = await withdrawnFirst(scene, gatewayWatch, watch);
  const after = await kernelState(topology);
  const detail = after === before ? 'no rule, route or table' : `before\n${before}\nafter\n${after}`;
  expectations.expect('it leaves nothing in the kernel', after === before, detail);
  return { milliseconds, ...figures };
}
