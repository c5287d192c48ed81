/**
 * ICMP errors about connections of port NAT: the packet inside bears the port of the other side of the translation, and
 * who gets the error would not know the connection. The port inside is put right, and the error's checksum with it.
 *
 * nft takes care of an ICMP checksum only where fields of the ICMP header itself are written; raw writes leave it as it is.
 * So the first word of the header (type and code) stands in for the port: set raw to the old port and then, by its own
 * fields, to the new one, it moves the checksum by just the difference; then it is set back raw. Meanwhile the place of
 * the port keeps type and code.
 */

import type { Family, PortNat, Protocol } from '../types/config.js';
import type { Statement } from './carrier.js';
import { NAT_PRIORITY, natName, natSets, unitedNats } from './nat.js';
import type { NftChain, NftRule, NftTable } from './nft-table.js';
import {
  addressOf,
  COUNTER,
  compares,
  equals,
  headerField,
  icmpOf,
  isError,
  namedRule,
  sets,
  transportBits,
} from './statement.js';

export const NAT_ERRORS_TABLE = 'meridio-nat-errors';

const FAMILIES: readonly Family[] = [4, 6];
/** IANA's protocol numbers. */
const NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };
/** Bits of an error before the packet that it carries. */
const INNER = 8 * 8;
const IP_BITS: Readonly<Record<Family, number>> = { 4: 20 * 8, 6: 40 * 8 };
const PORT_CHAIN = 'ports';

export function natErrorsTable(nats: readonly PortNat[]): NftTable {
  const united = unitedNats(nats);
  const jump = { jump: { target: PORT_CHAIN } };
  const rules = FAMILIES.map(family => [isError(family), jump]);
  const base = (name: string, at: 'prerouting' | 'output'): NftChain => ({
    name,
    // Behind the queue, whose flows match the port that the client sees, and behind snat-local.
    hook: { type: 'filter', at, priority: NAT_PRIORITY },
    rules,
  });
  const ports: NftChain = {
    name: PORT_CHAIN,
    hook: null,
    rules: united.flatMap(nat => FAMILIES.flatMap(family => [toTarget(nat, family), toClient(nat, family)])),
  };
  return {
    name: NAT_ERRORS_TABLE,
    sets: united.flatMap(natSets),
    chains: united.length === 0 ? [] : [base('in', 'prerouting'), base('out', 'output'), ports],
  };
}

/** About a reply, which left from the port that the client sees. */
function toTarget(nat: PortNat, family: Family): NftRule {
  const { port, targetPort } = nat;
  return namedRule(`${natName(nat)} IPv${family} to target`, [
    equals(addressOf(family, 'daddr'), `@${natName(nat)}-ipv${family}`),
    ...carries(nat.protocol, family),
    ...rewrites(family, INNER + IP_BITS[family], port, targetPort),
  ]);
}

/** About a request, which was on its way to the target's port. Targets, and snat-local, make them in the VIP's name. */
function toClient(nat: PortNat, family: Family): NftRule {
  const { port, targetPort } = nat;
  return namedRule(`${natName(nat)} IPv${family} to client`, [
    equals(addressOf(family, 'saddr'), `@${natName(nat)}-ipv${family}`),
    ...carries(nat.protocol, family),
    ...rewrites(family, INNER + IP_BITS[family] + 16, targetPort, port),
  ]);
}

/** The packet inside begins with ports of `protocol`: no IP options or extension headers, no later fragment. */
function carries(protocol: Protocol, family: Family): Statement[] {
  const number = NUMBERS[protocol];
  if (family === 6) {
    return [equals(transportBits(INNER + 6 * 8, 8), number)];
  }
  return [
    equals(transportBits(INNER, 8), 0x45),
    compares('==', { '&': [transportBits(INNER + 6 * 8, 16), 0x1fff] }, 0),
    equals(transportBits(INNER + 9 * 8, 8), number),
  ];
}

/** Port `from` at bit `offset` of the error becomes `to`. */
function rewrites(family: Family, offset: number, from: number, to: number): Statement[] {
  const place = transportBits(offset, 16);
  const [upper, lower] = [transportBits(offset, 8), transportBits(offset + 8, 8)];
  const [type, code] = [transportBits(0, 8), transportBits(8, 8)];
  const field = (name: 'type' | 'code'): object => headerField(icmpOf(family), name);
  return [
    equals(place, from),
    sets(upper, type),
    sets(lower, code),
    sets(type, from >> 8),
    sets(code, from & 0xff),
    // These two alone move the checksum.
    sets(field('type'), to >> 8),
    sets(field('code'), to & 0xff),
    sets(type, upper),
    sets(code, lower),
    sets(place, to),
    COUNTER,
  ];
}
