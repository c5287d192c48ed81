/**
 * Errors that this host makes about a packet which a target was to get: `fwmark_reflect` gives them the packet's mark,
 * which would route them to that target. Here they lose it and get the VIP as their source, so that they take the way of
 * everything that comes from a VIP: to the client, by table 4096. Not only those of path MTU discovery: a traceroute or a
 * client of a target that is gone waits for the others.
 */

import type { Family } from '../types/config.js';
import type { Statement } from './carrier.js';
import { unitedRanges } from './marks.js';
import type { NftTable } from './nft-table.js';
import {
  addressOf,
  addressSet,
  COUNTER,
  compares,
  equals,
  isError,
  markSet,
  sets,
  transportBits,
} from './statement.js';
import type { WantedKernel } from './wanted.js';

/** Meridio has this chain in its table of the queue; here the reference's tables read as they do there. */
export const SNAT_LOCAL_TABLE = 'meridio-snat-local';

/** Where an error's first 8 bytes are followed by the packet's header, its destination: in bits of the error. */
const INNER_DESTINATION: Readonly<Record<Family, { offset: number; length: number }>> = {
  4: { offset: (8 + 16) * 8, length: 32 },
  6: { offset: (8 + 24) * 8, length: 128 },
};

export function snatLocalTable({ vips, markRanges }: WantedKernel): NftTable {
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
        rules: [errorRule(4), errorRule(6)],
      },
    ],
  };
}

/** A stream's mark says that the packet was to a VIP: nothing else is marked so. */
function errorRule(family: Family): Statement[] {
  const mark = { meta: { key: 'mark' } };
  const { offset, length } = INNER_DESTINATION[family];
  return [
    equals(mark, '@stream-marks'),
    isError(family),
    // From a target to a VIP: the queue finds the target that the error is for.
    compares('!=', addressOf(family, 'daddr'), `@ipv${family}-vips`),
    COUNTER,
    sets(addressOf(family, 'saddr'), transportBits(offset, length)),
    sets(mark, 0),
  ];
}
