/**
 * Errors that this host makes about a packet which a target was to get: `fwmark_reflect` gives them the packet's mark,
 * which would route them to that target. Here they lose it and get the VIP as their source, so that they take the way of
 * everything that comes from a VIP: to the client, by table 4096. Not only those of path MTU discovery: a traceroute or a
 * client of a target that is gone waits for the others.
 *
 * nft up to 1.0 copies raw bytes into an address (`ip saddr set @th,192,32`). nft 1.1 refuses that: raw bytes are an
 * integer, and nft has no way to make an address of an integer. A raw write does not update checksums.
 * So a 16-bit integer field of the IP header acts as a stand-in, and nft updates the checksums for it:
 * 1. The source becomes 0, by its own field. The checksums now count a source of 0.
 * 2. The stand-in's value is kept in the source's place (raw writes here and below).
 * 3. For each 16-bit word of the VIP: the stand-in becomes 0 (raw), then the word (by its own field).
 * 4. The stand-in gets its value back, and the source gets the VIP.
 * A checksum is a sum of 16-bit words, so each word counts the same in either place (RFC 1071).
 */

import type { Family } from '../types/config.js';
import type { Statement } from './carrier.js';
import { unitedRanges } from './marks.js';
import type { NftRule, NftTable } from './nft-table.js';
import { ourBits, setsMark } from './packet-mark.js';
import {
  addressOf,
  addressSet,
  COUNTER,
  compares,
  equals,
  headerField,
  isError,
  markSet,
  namedRule,
  networkBits,
  sets,
  transportBits,
} from './statement.js';
import type { WantedKernel } from './wanted.js';

/** Meridio has this chain in its table of the queue; here the reference's tables read as they do there. */
export const SNAT_LOCAL_TABLE = 'meridio-snat-local';

/** Places in an error, in bits; its IP header has no options, since this host made it. */
interface Places {
  /** 16-bit words of an address. */
  readonly words: number;
  /** Source address, from the IP header. */
  readonly source: number;
  /** The destination of the packet inside, from the ICMP header: after 8 bytes of ICMP. */
  readonly innerDestination: number;
  /** The stand-in, from the IP header. Its checksum is the one that counts the source: IPv4's header, or ICMPv6's pseudo-header. */
  readonly standIn: { readonly field: string; readonly offset: number };
}

const PLACES: Readonly<Record<Family, Places>> = {
  4: { words: 2, source: 12 * 8, innerDestination: (8 + 16) * 8, standIn: { field: 'id', offset: 4 * 8 } },
  6: { words: 8, source: 8 * 8, innerDestination: (8 + 24) * 8, standIn: { field: 'length', offset: 4 * 8 } },
};
const NONE: Readonly<Record<Family, string>> = { 4: '0.0.0.0', 6: '::' };

export function snatLocalTable({ vips, markRanges, markMask }: WantedKernel): NftTable {
  return {
    name: SNAT_LOCAL_TABLE,
    sets: [
      addressSet('ipv4-vips', 4, vips),
      addressSet('ipv6-vips', 6, vips),
      markSet('stream-marks', unitedRanges(markRanges)),
    ],
    chains: [
      {
        name: 'snat-local',
        hook: { type: 'route', at: 'output', priority: -300 },
        rules: [errorRule(4, markMask), errorRule(6, markMask)],
      },
    ],
  };
}

/** A stream's mark says that the packet was to a VIP: nothing else is marked so. */
function errorRule(family: Family, markMask: number): NftRule {
  return namedRule(`IPv${family} from the VIP`, [
    equals(ourBits(markMask), '@stream-marks'),
    isError(family),
    // From a target to a VIP: the queue finds the target that the error is for.
    compares('!=', addressOf(family, 'daddr'), `@ipv${family}-vips`),
    COUNTER,
    ...setsSourceToVip(family),
    setsMark({ value: 0, mask: markMask }),
  ]);
}

/** Steps 1 to 4 above. */
function setsSourceToVip(family: Family): Statement[] {
  const { words, source, innerDestination, standIn } = PLACES[family];
  const raw = networkBits(standIn.offset, 16);
  const field = headerField(family === 4 ? 'ip' : 'ip6', standIn.field);
  const kept = networkBits(source, 16);
  const moves = Array.from({ length: words }, (_, word) => [
    sets(raw, 0),
    sets(field, transportBits(innerDestination + word * 16, 16)),
  ]);
  return [
    sets(addressOf(family, 'saddr'), NONE[family]),
    sets(kept, raw),
    ...moves.flat(),
    sets(raw, kept),
    sets(networkBits(source, words * 16), transportBits(innerDestination, words * 16)),
  ];
}
