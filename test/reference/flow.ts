/** The linear flow match and the whole decision, in the plainest words: exists to be compared with the core. */
import type { ByteMatch, Config, Flow, PortRange, Prefix, Stream } from '../../host/types/config.js';
import { referencePrime, referenceTable } from './maglev.js';
import { type Key, type Parsed, parse, parsePorts, type Refusal, SCTP, TCP, UDP } from './parse.js';

export interface ReferenceDecision {
  readonly reason: string;
  readonly flow: string | null;
  readonly stream: string | null;
  readonly hash: number | null;
  readonly identifier: number | null;
  readonly fwmark: number | null;
}

const NUMBERS = { tcp: TCP, udp: UDP, sctp: SCTP } as const;
/** ICMP and ICMPv6, under either IP version. */
const PINGS: readonly number[] = [1, 58];

/** One entry of the list that is searched; `encapsulated`: it finds SCTP inside UDP, and stands for no stream. */
interface Entry {
  readonly flow: Flow;
  readonly encapsulated: boolean;
}

export class Reference {
  private readonly entries: readonly Entry[];
  private readonly tables: ReadonlyMap<string, readonly number[]>;

  constructor(private readonly config: Config) {
    // A stable sort: equal priorities stay in their order.
    this.entries = [...config.flows]
      .sort((one, other) => other.priority - one.priority)
      .flatMap(flow => [
        ...(flow.udpEncapPort === null ? [] : [hidden(flow, flow.udpEncapPort)]),
        { flow, encapsulated: false },
      ]);
    this.tables = new Map(config.streams.map(stream => [stream.name, tableOf(stream)]));
  }

  decide(packet: Uint8Array, wireLength = packet.length): ReferenceDecision {
    const none = { flow: null, stream: null, hash: null, identifier: null, fwmark: null };
    let parsed = parse(packet, wireLength);
    if (typeof parsed === 'string') return { reason: parsed, ...none };
    let entry = this.find(parsed, true);
    if (typeof entry === 'string') return { reason: entry, ...none };
    if (entry?.encapsulated === true) {
      const transport = parsed.transport + 8;
      const ports = parsePorts(parsed.bytes, transport, parsed.inner);
      if (typeof ports === 'string') return { reason: ports, ...none };
      const [sourcePort, destinationPort] = ports;
      parsed = { ...parsed, transport, key: { ...parsed.key, protocol: SCTP, sourcePort, destinationPort } };
      entry = this.find(parsed, false);
      if (typeof entry === 'string') return { reason: entry, ...none };
    }
    if (entry === undefined) return { reason: 'no-flow', ...none, fwmark: this.config.noFlowFwmark };

    const hash = hashOf(parsed.key, this.config);
    const stream = this.config.streams.find(({ name }) => name === entry.flow.stream)!;
    const matched = { flow: entry.flow.name, stream: stream.name, hash };
    const table = this.tables.get(stream.name)!;
    const index = table[hash % table.length]!;
    if (index < 0)
      return { reason: 'no-target', ...matched, identifier: null, fwmark: this.config.noTargetsFwmark };
    const { fwmark } = stream.targets.find(({ identifier }) => identifier === index + 1)!;
    return { reason: 'ok', ...matched, identifier: index + 1, fwmark };
  }

  /** The first entry that matches; a refusal where it is not known whether that is one. */
  private find(parsed: Parsed, withHidden: boolean): Entry | Refusal | undefined {
    const byAddress = this.config.promiscuousPing && PINGS.includes(parsed.key.protocol);
    for (const entry of this.entries) {
      const { flow, encapsulated } = entry;
      // The hidden entry is for UDP alone: the flow itself, next in the list, has the same addresses.
      if (encapsulated && (!withHidden || byAddress)) continue;
      if (!inAny(flow.vips, parsed.key.destination) || !inAny(flow.sourceSubnets, parsed.key.source))
        continue;
      if (byAddress) return entry;
      if (!transportMatches(flow, parsed)) continue;
      const answers = flow.byteMatches.map(statement => holds(statement, parsed));
      if (answers.includes(false)) continue;
      return answers.find(answer => typeof answer === 'string') ?? entry;
    }
    return undefined;
  }
}

function hidden(flow: Flow, port: number): Entry {
  const ranges = [{ first: port, last: port }];
  return {
    flow: {
      ...flow,
      name: `#${flow.name}`,
      protocols: ['udp'],
      destinationPortRanges: ranges,
      sourcePortRanges: [],
      byteMatches: [],
    },
    encapsulated: true,
  };
}

function tableOf(stream: Stream): number[] {
  const active = stream.targets.map(({ identifier }) => identifier - 1);
  return referenceTable(referencePrime(stream.tableSize), stream.maxTargets, active);
}

function transportMatches(flow: Flow, parsed: Parsed): boolean {
  const { protocol, sourcePort, destinationPort } = parsed.key;
  const protocols = flow.protocols.map(name => NUMBERS[name] as number);
  return (
    (protocols.length === 0 || protocols.includes(protocol)) &&
    portMatches(flow.destinationPortRanges, destinationPort) &&
    portMatches(flow.sourcePortRanges, sourcePort)
  );
}

function portMatches(ranges: readonly PortRange[], port: number): boolean {
  return ranges.length === 0 || ranges.some(({ first, last }) => first <= port && port <= last);
}

/**
 * A statement about another protocol is ignored, and so is each of an ICMP error; one about bytes that the packet has not does not hold; one about bytes
 * that it has and that are not here is a refusal.
 */
function holds(statement: ByteMatch, parsed: Parsed): boolean | Refusal {
  if (parsed.inner || NUMBERS[statement.protocol] !== parsed.key.protocol) return true;
  const at = parsed.transport + statement.offset;
  if (!parsed.bytes.hasOnWire(at, statement.width)) return false;
  const lack = parsed.bytes.lack(at, statement.width);
  if (lack !== null) return lack;
  return (parsed.bytes.number(at, statement.width) & BigInt(statement.mask)) === BigInt(statement.value);
}

function inAny(prefixes: readonly Prefix[], address: bigint): boolean {
  return prefixes.length === 0 || prefixes.some(prefix => inPrefix(prefix, address));
}

/** Numbers of the prefixes' addresses: reading the text anew for each packet would take most of a test's time. */
const networks = new Map<string, bigint>();

function inPrefix(prefix: Prefix, address: bigint): boolean {
  const hostBits = BigInt(prefix.family === 4 ? 32 - prefix.length : 128 - prefix.length);
  let network = networks.get(prefix.address);
  if (network === undefined) {
    network = addressNumber(prefix.address);
    networks.set(prefix.address, network);
  }
  return address >> hostBits === network >> hostBits;
}

/** An IPv4 or IPv6 address as a 128-bit number, IPv4 as ::ffff:a.b.c.d. */
export function addressNumber(text: string): bigint {
  if (!text.includes(':'))
    return 0xffff00000000n | text.split('.').reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const [head = '', tail = ''] = text.split('::');
  const words = (part: string) => (part === '' ? [] : part.split(':'));
  const zeros = new Array<string>(8 - words(head).length - words(tail).length).fill('0');
  return [...words(head), ...zeros, ...words(tail)].reduce(
    (sum, word) => (sum << 16n) | BigInt(`0x${word}`),
    0n,
  );
}

/** The 40 bytes that nfqlb hashes. */
export function keyBytes(key: Key): number[] {
  const bytes = (value: bigint, count: number) =>
    Array.from({ length: count }, (_, n) => Number((value >> BigInt(8 * (count - 1 - n))) & 0xffn));
  return [
    ...bytes(key.source, 16),
    ...bytes(key.destination, 16),
    ...key.echoId,
    key.protocol & 0xff,
    key.protocol >> 8,
    ...bytes(BigInt(key.sourcePort), 2),
    ...bytes(BigInt(key.destinationPort), 2),
  ];
}

function hashOf(key: Key, config: Config): number {
  const bytes = keyBytes(key);
  const hashed = config.hashMode === 'sctp-ports' && key.protocol === SCTP ? bytes.slice(36) : bytes;
  return hashed.reduce((hash, byte) => (Math.imul(hash, 33) + byte) >>> 0, 5381);
}
