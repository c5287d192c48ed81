/** The nftables tables of a configuration: the reference document's, and those of our own. */

import type { Family } from '../types/config.js';
import { WHOLE_MARK } from '../types/marks.js';
import type { Carrier, Statement } from './carrier.js';
import { GUARD_TABLE, guardTable } from './guard.js';
import type { MarkRange } from './marks.js';
import { NAT_TABLE, natTable } from './nat.js';
import { NAT_ERRORS_TABLE, natErrorsTable } from './nat-errors.js';
import type { NftTable } from './nft-table.js';
import { markRule } from './packet-mark.js';
import { SNAT_LOCAL_TABLE, snatLocalTable } from './snat-local.js';
import { ACCEPT, addressOf, addressSet, COUNTER, compares, equals, ICMP, NOTRACK } from './statement.js';
import { queueMarkOf, type WantedKernel } from './wanted.js';

export const NFQLB_TABLE = 'meridio-nfqlb';
export const DEFRAG_TABLE = 'meridio-defrag';
/**
 * In the order in which the reference lists its three, which is that of their making; one transaction makes them all.
 * Those after them are ours.
 */
export const TABLES = [
  NFQLB_TABLE,
  NAT_TABLE,
  DEFRAG_TABLE,
  SNAT_LOCAL_TABLE,
  NAT_ERRORS_TABLE,
  GUARD_TABLE,
] as const;

/** In chain `in` of DEFRAG_TABLE: a rule about `ct state` is what switches the kernel's reassembly on, of what is not untracked by then. */
export const REASSEMBLY_RULE: readonly Statement[] = [
  compares('in', { ct: { key: 'state' } }, 'untracked'),
  ACCEPT,
];

export interface Kept {
  /** REASSEMBLY_RULE stays although the configuration does without it. */
  readonly reassembly: boolean;
  /** Marks that the guard lets pass besides those of the configuration. */
  readonly marks: readonly MarkRange[];
}

const NOTHING_KEPT: Kept = { reassembly: false, marks: [] };

/** The tables of a configuration, in the order of TABLES. @param kept of a former configuration */
export function renderTables(wanted: WantedKernel, carrier: Carrier, kept = NOTHING_KEPT): NftTable[] {
  return [
    nfqlbTable(wanted, carrier),
    natTable(wanted.portNats),
    defragTable(wanted, wanted.fragments === 'kernel' || kept.reassembly),
    snatLocalTable(wanted),
    natErrorsTable(wanted.portNats),
    guardTable(wanted, kept.marks),
  ];
}

function nfqlbTable(wanted: WantedKernel, carrier: Carrier): NftTable {
  const mark = queueMarkOf(wanted);
  const steer = carrier.steer(wanted.queues, mark);
  const toVips = (family: Family): Statement[] => [
    equals(addressOf(family, 'daddr'), `@ipv${family}-vips`),
    COUNTER,
    steer,
  ];
  // A chain that queues by itself sets no mark, and reads as in the reference.
  const mask = carrier.queueMatch(mark) === null ? WHOLE_MARK : mark.mask;
  const rule = (name: string, statements: readonly Statement[]) => markRule(mask, name, statements);
  const protocol = (number: number): Statement => equals({ meta: { key: 'l4proto' } }, number);
  const priority = carrier.chainPriority;
  return {
    name: NFQLB_TABLE,
    sets: [addressSet('ipv4-vips', 4, wanted.vips), addressSet('ipv6-vips', 6, wanted.vips)],
    chains: [
      {
        name: 'nfqlb',
        hook: { type: 'filter', at: 'prerouting', priority },
        rules: [rule('IPv4 to a VIP', toVips(4)), rule('IPv6 to a VIP', toVips(6))],
      },
      {
        name: 'nfqlb-local',
        hook: { type: 'filter', at: 'output', priority },
        rules: [
          rule('ICMP to a VIP', [protocol(ICMP[4]), ...toVips(4)]),
          rule('ICMPv6 to a VIP', [protocol(ICMP[6]), ...toVips(6)]),
        ],
      },
    ],
  };
}

function defragTable(wanted: WantedKernel, reassembles: boolean): NftTable {
  const { fragments, interfaces } = wanted;
  return {
    name: DEFRAG_TABLE,
    sets: [],
    chains: [
      {
        name: 'pre-defrag',
        // Before the kernel's reassembly (-400), which passes over what is untracked: what targets send needs none.
        hook: { type: 'filter', at: 'prerouting', priority: -500 },
        rules:
          fragments === 'track'
            ? [[NOTRACK]]
            : interfaces.internal.map(name => [equals({ meta: { key: 'iifname' } }, name), NOTRACK]),
      },
      {
        name: 'in',
        hook: { type: 'filter', at: 'prerouting', priority: -300 },
        rules: [[NOTRACK], ...(reassembles ? [REASSEMBLY_RULE] : [])],
      },
      { name: 'out', hook: { type: 'filter', at: 'output', priority: -300 }, rules: [[NOTRACK]] },
    ],
  };
}
