/** Why a packet goes where it goes: the core's decision, and of each flow that was tried, why it did not match. */
import { orderedFlows } from '../core/image-parts.js';
import { addressNumber, prefixInterval } from '../types/address.js';
import type {
  ByteMatch,
  Config,
  Flow,
  FragmentMode,
  PortRange,
  Prefix,
  Stream,
  Target,
} from '../types/config.js';
import type { FiveTuple } from '../types/five-tuple.js';
import { packetOf } from './packet.js';
import { type Decision, Simulator } from './simulator.js';

export interface TriedFlow {
  readonly name: string;
  readonly priority: number;
  readonly stream: string;
  /** null: it matches. */
  readonly misses: string | null;
}

export interface Explanation extends Decision {
  /** `hash` modulo `tableSize`; null where no flow matched. */
  readonly slot: number | null;
  readonly tableSize: number | null;
  /** In the order in which they are tried, to the one that matches or to the last. */
  readonly tried: readonly TriedFlow[];
  /** Flows behind the one that matched: they were not asked. */
  readonly notAsked: number;
  readonly fragments: ExplainedFragments;
  /** The VIP that holds the destination; null: the ruleset does not queue the packet, so it never reaches magmark. */
  readonly vip: string | null;
}

/** What becomes of the packet where it comes in fragments, in words. */
export interface ExplainedFragments {
  readonly mode: FragmentMode;
  readonly first: string;
  readonly later: string;
}

/** @param isActive targets that take traffic; default: all */
export function explain(
  config: Config,
  tuple: FiveTuple,
  isActive: (stream: Stream, target: Target) => boolean = () => true,
): Explanation {
  const packet = packetOf(tuple);
  const simulator = Simulator.fromConfig(config, isActive);
  const decision = simulator.decide(packet);
  const tableSize = decision.stream === null ? null : simulator.table(decision.stream).length;
  const flows = orderedFlows(config).filter(({ hidden }) => !hidden);
  const matched = flows.findIndex(({ name }) => name === decision.flow);
  const asked = matched < 0 ? flows : flows.slice(0, matched + 1);
  return {
    ...decision,
    slot: tableSize === null ? null : decision.hash! % tableSize,
    tableSize,
    tried: asked.map(({ name, flow }, index) => ({
      name,
      priority: flow.priority,
      stream: flow.stream,
      misses: index === matched ? null : missOf(flow, tuple, packet, config.promiscuousPing),
    })),
    notAsked: flows.length - asked.length,
    fragments: explainFragments(config),
    vip: vipOf(config, tuple.destination),
  };
}

function vipOf({ vips }: Config, address: string): string | null {
  const vip = vips.find(each => holds(each, address));
  return vip === undefined ? null : `${vip.address}/${vip.length}`;
}

function explainFragments({ fragments: mode, fragmentTimeoutMs: timeout }: Config): ExplainedFragments {
  if (mode === 'kernel') {
    const together = 'put together by the kernel before the queue: the whole packet is decided';
    return { mode, first: together, later: together };
  }
  return {
    mode,
    first: 'decided as the whole packet is, by the ports in it',
    later: `follows its first, if that came at most ${timeout} ms before; waits ${timeout} ms for one that comes behind it, and is dropped if none does`,
  };
}

/** The first condition of `flow` that the packet does not meet, in words. */
function missOf(flow: Flow, tuple: FiveTuple, packet: Uint8Array, promiscuousPing: boolean): string {
  const { protocol, source, destination, sourcePort, destinationPort } = tuple;
  if (!flow.vips.some(vip => holds(vip, destination)))
    return `destination ${destination} is in none of ${prefixes(flow.vips)}`;
  if (flow.sourceSubnets.length > 0 && !flow.sourceSubnets.some(subnet => holds(subnet, source)))
    return `source ${source} is in none of ${prefixes(flow.sourceSubnets)}`;
  const ping = protocol === 'icmp' && promiscuousPing;
  if (!ping && flow.protocols.length > 0 && !flow.protocols.some(each => each === protocol))
    return `protocol ${protocol} is none of ${flow.protocols.join(', ')}`;
  if (!ping && !within(flow.destinationPortRanges, destinationPort))
    return `destination port ${destinationPort} is in none of ${ranges(flow.destinationPortRanges)}`;
  if (!ping && !within(flow.sourcePortRanges, sourcePort))
    return `source port ${sourcePort} is in none of ${ranges(flow.sourcePortRanges)}`;
  const broken = flow.byteMatches.find(match => match.protocol === protocol && !byteHolds(match, packet));
  if (broken !== undefined) return `${broken.text} does not hold for a packet with nothing but these ports`;
  return flow.udpEncapPort === null
    ? 'it does not match'
    : `it takes SCTP, plain or in UDP to port ${flow.udpEncapPort}`;
}

function holds(prefix: Prefix, address: string): boolean {
  const mapped = (number: bigint, family: number) => (family === 4 ? (0xffffn << 32n) | number : number);
  const { first, last } = prefixInterval(prefix);
  const number = mapped(addressNumber(address), address.includes(':') ? 6 : 4);
  return mapped(first, prefix.family) <= number && number <= mapped(last, prefix.family);
}

function within(ranges: readonly PortRange[], port: number): boolean {
  return ranges.length === 0 || ranges.some(({ first, last }) => first <= port && port <= last);
}

function byteHolds({ offset, width, mask, value }: ByteMatch, packet: Uint8Array): boolean {
  const header = packet[0]! >> 4 === 4 ? 20 : 40;
  let number = 0;
  for (let index = 0; index < width; index++) number = number * 256 + (packet[header + offset + index] ?? 0);
  return (number & mask) >>> 0 === value;
}

const SHOWN = 5;

function prefixes(list: readonly Prefix[]): string {
  return shortened(list.map(({ address, length }) => `${address}/${length}`));
}

function ranges(list: readonly PortRange[]): string {
  return shortened(list.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)));
}

function shortened(words: readonly string[]): string {
  const more = words.length - SHOWN;
  return more > 0 ? `${words.slice(0, SHOWN).join(', ')} and ${more} more` : words.join(', ');
}
