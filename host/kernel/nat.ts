/**
 * Port NAT: clients see one port of a VIP, targets serve another. No state: each direction is rewritten for itself, behind
 * the queue, so that flows match the port that the client sees.
 */

import type { Family, PortNat, Protocol } from '../types/config.js';
import type { Statement } from './carrier.js';
import type { NftChain, NftSet, NftTable } from './nft-table.js';
import { addressOf, addressSet, COUNTER, equals, headerField, NOTRACK, sets } from './statement.js';

export const NAT_TABLE = 'meridio-nat';

const FAMILIES: readonly Family[] = [4, 6];
/** Behind both carriers' chains. */
export const NAT_PRIORITY = 100;

/** Names as Meridio's: chain `80-8080-TCP`, sets `80-8080-TCP-ipv4` and `80-8080-TCP-ipv6`. */
export function natTable(nats: readonly PortNat[]): NftTable {
  const united = unitedNats(nats);
  return {
    name: NAT_TABLE,
    sets: united.flatMap(natSets),
    chains: united.map(natChain),
  };
}

/** Those that share ports and protocol are one, with the VIPs of all: they would have one name. */
export function unitedNats(nats: readonly PortNat[]): PortNat[] {
  const byName = new Map<string, PortNat>();
  for (const nat of nats) {
    const before = byName.get(natName(nat));
    byName.set(natName(nat), { ...nat, vips: [...(before?.vips ?? []), ...nat.vips] });
  }
  return [...byName.values()];
}

/** The VIPs of a NAT, one set a family: `80-8080-TCP-ipv4`. */
export function natSets(nat: PortNat): NftSet[] {
  return FAMILIES.map(family => addressSet(`${natName(nat)}-ipv${family}`, family, nat.vips));
}

/** For example `80-8080-TCP`. */
export function natName({ port, targetPort, protocol }: PortNat): string {
  return `${port}-${targetPort}-${protocol.toUpperCase()}`;
}

function natChain(nat: PortNat): NftChain {
  const name = natName(nat);
  const rules = FAMILIES.flatMap(family => {
    const vips = `@${name}-ipv${family}`;
    return [
      ...rewrites(nat.protocol, 'dport', nat.port, nat.targetPort, equals(addressOf(family, 'daddr'), vips)),
      ...rewrites(nat.protocol, 'sport', nat.targetPort, nat.port, equals(addressOf(family, 'saddr'), vips)),
    ];
  });
  return { name, hook: { type: 'filter', at: 'prerouting', priority: NAT_PRIORITY }, rules };
}

/** The rules that turn port `from` into `to` in one direction of one family. */
function rewrites(
  protocol: Protocol,
  field: 'sport' | 'dport',
  from: number,
  to: number,
  isVip: Statement,
): Statement[][] {
  const port = headerField(protocol, field);
  const matched = [isVip, equals(port, from)];
  const done = [COUNTER, NOTRACK];
  const whole = [...matched, sets(port, to), ...done];
  if (protocol !== 'udp') {
    return [whole];
  }
  // 0 says that there is no checksum (RFC 768; RFC 6936 over IPv6), and the kernel would make a wrong one of it. The rule
  // behind does not match any more.
  const checksum = headerField('udp', 'checksum');
  const without = [...matched, equals(checksum, 0), sets(port, to), sets(checksum, 0), ...done];
  return [without, whole];
}
