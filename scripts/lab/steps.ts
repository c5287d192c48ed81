/** The steps of the demonstration. Each sends something real, and expects something of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { connections } from './connections.js';
import type { LabDaemon } from './daemon.js';
import type { Expectations } from './expectations.js';
import { FWMARK_OFFSET, kernelState, LISTINGS, lookupOf, runListing } from './listings.js';
import type { Answer } from './messages.js';
import {
  CLIENT_MTU,
  CLIENTS,
  CONDUITS,
  clientAddress,
  FAMILIES,
  FAMILY_NAMES,
  REFERENCE_LOOKUP,
  TARGETS,
  TCP_PORT,
  UDP_PORT,
  VIP,
} from './plan.js';
import type { Prediction } from './prediction.js';
import { indented, sharesText, type TargetShare } from './report.js';
import type { Connection } from './syn.js';
import type { Topology } from './topology.js';
import type { Clients } from './traffic.js';

/** What the steps work with. */
export interface Scene {
  readonly topology: Topology;
  readonly daemon: LabDaemon;
  readonly clients: Clients;
  readonly expectations: Expectations;
  readonly prediction: Prediction;
  /** For people. */
  readonly say: (text: string) => void;
}

export type ByFamily<Value> = Record<'ipv4' | 'ipv6', Value>;

/** Connections a family. */
const TCP_CONNECTIONS = 400;
const KEPT_CONNECTIONS = 100;
const PINGS_PER_CLIENT = 2;
const DATAGRAM_BYTES = 4000;
const STOP_LIMIT_MS = 2000;
/** The target that is removed and added again. */
export const REMOVED = 62;

async function eachFamily<Value>(work: (family: 4 | 6) => Promise<Value>): Promise<ByFamily<Value>> {
  return { ipv4: await work(4), ipv6: await work(6) };
}

/** Every listing of the reference document. @returns the first slots of the table, as `nfqlb show` prints them */
export async function showListings({ topology, expectations, say }: Scene): Promise<number[]> {
  const texts = await Promise.all(LISTINGS.map(async each => (await runListing(topology, each)).stdout));
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

export interface TcpFigures {
  readonly attempted: number;
  readonly answered: number;
  readonly asPredicted: number;
}

/** Connections from every client; who answers must be who the core names offline. */
export async function tcp(scene: Scene): Promise<{ figures: ByFamily<TcpFigures>; targets: TargetShare[] }> {
  const { clients, prediction, expectations, say } = scene;
  const counts = new Map<number, number>();
  const figures = await eachFamily(async family => {
    const attempted = connections(family, TCP_CONNECTIONS, 20_000, TCP_PORT);
    const answers = await clients.connect(attempted);
    const answered = answers.filter(answer => 'identifier' in answer).length;
    const asPredicted = answers.filter(
      (answer, index) => identifierOf(answer) === prediction.target(attempted[index]!),
    ).length;
    for (const answer of answers) {
      if ('identifier' in answer) counts.set(answer.identifier, (counts.get(answer.identifier) ?? 0) + 1);
    }
    const name = FAMILY_NAMES[family];
    const detail = `${answered} of ${attempted.length}${firstError(answers)}`;
    expectations.expect(
      `every TCP connection over ${name} is answered`,
      answered === attempted.length,
      detail,
    );
    const right = `${asPredicted} of ${attempted.length}`;
    expectations.expect(
      `over ${name}, each by the target that the core names offline`,
      asPredicted === attempted.length,
      right,
    );
    return { attempted: attempted.length, answered, asPredicted };
  });
  const slots = prediction.slots('stream-a-i');
  const size = [...slots.values()].reduce((sum, each) => sum + each, 0);
  const targets = TARGETS.map(({ identifier }) => ({
    identifier,
    fwmark: FWMARK_OFFSET + identifier,
    connections: counts.get(identifier) ?? 0,
    slots: (slots.get(identifier) ?? 0) / size,
  })).sort((one, other) => one.identifier - other.identifier);
  say(sharesText(targets));
  return { figures, targets };
}

export interface PingFigures {
  readonly attempted: number;
  readonly answered: number;
}

/** Echo requests from every client: promiscuous ping hands them to the stream that owns the VIP. */
export function ping({ clients, expectations }: Scene): Promise<ByFamily<PingFigures>> {
  return eachFamily(async family => {
    const pings = Array.from({ length: CLIENTS }, (_, index) => ({
      source: clientAddress(family, index),
      destination: VIP[family],
      count: PINGS_PER_CLIENT,
    }));
    const answered = (await clients.ping(pings)).reduce((sum, each) => sum + each, 0);
    const attempted = CLIENTS * PINGS_PER_CLIENT;
    const name = `every ping over ${FAMILY_NAMES[family]} is answered`;
    expectations.expect(
      name,
      answered === attempted,
      `${answered} of ${attempted} from ${CLIENTS} addresses`,
    );
    return { attempted, answered };
  });
}

export interface FragmentFigures {
  readonly sent: number;
  readonly intact: number;
  /** What the gateway's kernel counted. */
  readonly fragments: number;
}

/** Bytes of one fragment's payload: a multiple of 8 (RFC 791 section 3.2, RFC 8200 section 4.5), after the headers. */
const FRAGMENT_PAYLOAD = { 4: (CLIENT_MTU - 20) & ~7, 6: (CLIENT_MTU - 40 - 8) & ~7 };
const UDP_HEADER_BYTES = 8;

/** Datagrams that no link takes whole. */
export function fragments({ clients, expectations }: Scene): Promise<ByFamily<FragmentFigures>> {
  return eachFamily(async family => {
    const name = FAMILY_NAMES[family];
    const datagrams = connections(family, CLIENTS, 40_000, UDP_PORT);
    const before = await clients.fragments();
    const results = await clients.datagrams(datagrams, DATAGRAM_BYTES);
    const made = (await clients.fragments())[name] - before[name];
    const intact = results.filter(result => 'intact' in result && result.intact).length;
    const each = Math.ceil((DATAGRAM_BYTES + UDP_HEADER_BYTES) / FRAGMENT_PAYLOAD[family]);
    const detail = `${intact} of ${datagrams.length} of ${DATAGRAM_BYTES} bytes${firstError(results)}`;
    expectations.expect(
      `every fragmented datagram over ${name} arrives whole`,
      intact === datagrams.length,
      detail,
    );
    expectations.expect(
      `over ${name} they leave in ${each} fragments each, of at most ${CLIENT_MTU} bytes`,
      made === each * datagrams.length,
      `${made} fragments of ${datagrams.length} datagrams`,
    );
    return { sent: datagrams.length, intact, fragments: made };
  });
}

export interface ReloadFigures {
  readonly established: number;
  /** Echoed before, during and after. */
  readonly survived: number;
  /** Whose slot belongs to the same target throughout, says the core. */
  readonly predicted: number;
}

/** One target leaves and comes back while connections are open; those of the others must not notice more than they have to. */
export async function reload(
  scene: Scene,
  configFile: string,
  predict: (text: string) => Prediction,
): Promise<ReloadFigures> {
  const { clients, daemon, expectations, prediction, say } = scene;
  const whole = readFileSync(configFile, 'utf8');
  const without = withoutTarget(whole, REMOVED);
  const attempted: Connection[] = FAMILIES.flatMap(family =>
    connections(family, KEPT_CONNECTIONS, 30_000, TCP_PORT),
  );
  const established = (await clients.connect(attempted, true)).filter(
    answer => 'identifier' in answer,
  ).length;
  expectations.expect(
    'the connections to be kept are established',
    established === attempted.length,
    `${established} of ${attempted.length}`,
  );

  const states: boolean[][] = [await clients.echo('before\n')];
  for (const [text, word] of [
    [without, 'during'],
    [whole, 'after'],
  ] as const) {
    writeFileSync(configFile, text);
    const line = await daemon.reload();
    expectations.expect(
      `the daemon takes the file ${word === 'during' ? 'without' : 'with'} target ${REMOVED} on SIGHUP`,
      line.msg === 'reloaded',
      `${line.msg}, generation ${line.generation}`,
    );
    states.push(await clients.echo(`${word}\n`));
  }
  await clients.close();

  const survived = states[0]!.filter((_, index) => states.every(state => state[index])).length;
  const meanwhile = predict(without);
  const owners = attempted.map(each => [prediction.target(each), meanwhile.target(each)] as const);
  const predicted = owners.filter(([before, during]) => before === during).length;
  const own = owners.filter(([before]) => before === REMOVED).length;
  say(
    `  ${established} connections; ${own} were those of target ${REMOVED}, ${established - predicted - own} more moved with the table; ` +
      `echoed before ${trues(states[0]!)}, during ${trues(states[1]!)}, after ${trues(states[2]!)}`,
  );
  expectations.expect(
    'those connections survive whose slot keeps its owner, and no others',
    survived === predicted,
    `${survived} survived, ${predicted} had to, of ${established}`,
  );
  return { established, survived, predicted };
}

/** The file without the line of one target. */
export function withoutTarget(text: string, identifier: number): string {
  return text
    .split('\n')
    .filter(line => !line.includes(`identifier: ${identifier},`))
    .join('\n');
}

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

/** Stop it, and look whether the kernel is as it was. */
export async function stop({ topology, daemon, expectations }: Scene, before: string): Promise<number> {
  const { milliseconds, code } = await daemon.stop('SIGTERM');
  const ended = `exit code ${code} after ${milliseconds} ms`;
  expectations.expect(
    'SIGTERM ends the daemon with 0 within 2 s',
    code === 0 && milliseconds < STOP_LIMIT_MS,
    ended,
  );
  const after = await kernelState(topology);
  const detail = after === before ? 'no rule, route or table' : `before\n${before}\nafter\n${after}`;
  expectations.expect('it leaves nothing in the kernel', after === before, detail);
  return milliseconds;
}

const identifierOf = (answer: Answer): number | null => ('identifier' in answer ? answer.identifier : null);

const trues = (values: readonly boolean[]): number => values.filter(Boolean).length;

function firstError(answers: readonly object[]): string {
  const first = answers.find((answer): answer is { error: string } => 'error' in answer);
  return first === undefined ? '' : `; the first that failed: ${first.error}`;
}
