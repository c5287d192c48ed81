/** Packets in text: `tcp 192.0.2.1:1234 > 20.0.0.1:80`, `udp [2001:db8::1]:53 > [2000::1]:53`, `icmp 192.0.2.1 > 20.0.0.1`. */
import type { FiveTuple } from '../types/five-tuple.js';
import { shown } from '../types/text.js';
import { parseHost } from './address.js';

const FORM = '<proto> <src>:<sport> > <dst>:<dport>, with IPv6 addresses in brackets; icmp has no ports';
const PACKET = /^\s*(?<protocol>tcp|udp|sctp|icmp)\s+(?<source>\S+)\s*(?:>|->)\s*(?<destination>\S+)\s*$/i;
const END = /^(?:\[(?<bracketed>[^\]]+)\]|(?<plain>[^[\]]+?))(?::(?<port>[0-9]{1,5}))?$/;

/** @returns the packet, or the fault as a string */
export function parseFiveTuple(text: string): FiveTuple | string {
  const groups = PACKET.exec(text)?.groups;
  if (groups === undefined) return `${shown(text)} is not a packet: write ${FORM}`;
  const protocol = groups.protocol!.toLowerCase() as FiveTuple['protocol'];
  const source = parseEnd(groups.source!, protocol);
  const destination = parseEnd(groups.destination!, protocol);
  if (typeof source === 'string') return source;
  if (typeof destination === 'string') return destination;
  if (source.family !== destination.family)
    return `${shown(text)} mixes IPv${source.family} with IPv${destination.family}`;
  return {
    family: source.family,
    protocol,
    source: source.address,
    sourcePort: source.port,
    destination: destination.address,
    destinationPort: destination.port,
  };
}

function parseEnd(text: string, protocol: FiveTuple['protocol']) {
  // An IPv6 address without brackets has no port that could be told from it.
  const bare = protocol === 'icmp' && text.includes('::') && !text.includes('[');
  const groups = bare ? { plain: text } : END.exec(text)?.groups;
  if (groups === undefined) return `${shown(text)} is not an address with a port: write ${FORM}`;
  const host = parseHost(groups.bracketed ?? groups.plain ?? '');
  if (typeof host === 'string') return host;
  if (protocol === 'icmp')
    return groups.port === undefined ? { ...host, port: 0 } : `${shown(text)}: icmp has no ports`;
  const port = Number(groups.port ?? Number.NaN);
  if (Number.isNaN(port)) return `${shown(text)} has no port: write ${FORM}`;
  return port > 65535 ? `${shown(text)} has a port above 65535` : { ...host, port };
}

/** As it is written in text. */
export function fiveTupleText({
  family,
  protocol,
  source,
  sourcePort,
  destination,
  destinationPort,
}: FiveTuple): string {
  if (protocol === 'icmp') return `icmp ${source} > ${destination}`;
  const end = (address: string, port: number) =>
    family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
  return `${protocol} ${end(source, sourcePort)} > ${end(destination, destinationPort)}`;
}
