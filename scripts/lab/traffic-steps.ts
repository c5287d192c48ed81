/** The steps of the demonstration that send something through the load balancer. */
import { connections } from './connections.js';
import { FWMARK_OFFSET } from './listings.js';
import type { Answer } from './messages.js';
import {
  CLIENT_MTU,
  CLIENTS,
  clientAddress,
  FAMILY_NAMES,
  TARGETS,
  TCP_PORT,
  UDP_PORT,
  VIP,
} from './plan.js';
import { sharesText, type TargetShare } from './report.js';
import type { Scene } from './steps.js';

export type ByFamily<Value> = Record<'ipv4' | 'ipv6', Value>;

/** Connections a family. */
const TCP_CONNECTIONS = 400;
const PINGS_PER_CLIENT = 2;
const DATAGRAM_BYTES = 4000;

async function eachFamily<Value>(work: (family: 4 | 6) => Promise<Value>): Promise<ByFamily<Value>> {
  return { ipv4: await work(4), ipv6: await work(6) };
}

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

const identifierOf = (answer: Answer): number | null => ('identifier' in answer ? answer.identifier : null);

function firstError(answers: readonly object[]): string {
  const first = answers.find((answer): answer is { error: string } => 'error' in answer);
  return first === undefined ? '' : `; the first that failed: ${first.error}`;
}
