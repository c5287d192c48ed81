/**
 * The guard: the host never forwards a packet that is addressed to a VIP and has none of our marks. Such a packet passed by
 * the queue, or a rule of another program changed its mark; main would send it back to the gateway.
 *
 * - `forward` is early at its hook: the route is chosen by then, so a mark that others set later does no harm.
 * - `postrouting` is the last at its hook. It counts what leaves, to be compared with what the workers decided.
 * - `output` counts what this host itself sends to a VIP and the queue never sees: health checks.
 */
import type { Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import type { Statement } from './carrier.js';
import { type MarkRange, unitedRanges } from './marks.js';
import { listCounters, listObjects } from './nft-list.js';
import { listedMarks } from './nft-listing.js';
import type { Command, NftSet, NftTable } from './nft-table.js';
import {
  ACCEPT,
  addressOf,
  addressSet,
  compares,
  DROP,
  equals,
  ICMP,
  markSet,
  namedCounter,
  RETURN,
} from './statement.js';
import type { WantedKernel } from './wanted.js';

export const GUARD_TABLE = 'magmark-guard';
const MARKS = 'marks';
/** Before every chain of well-known software. */
const EARLY = -1000;
/** After every other chain. */
const LAST = 2 ** 31 - 1;
const LEFT = 'left';
const OWN = 'own';
const FAMILIES: readonly Family[] = [4, 6];

/** Packets to VIPs, since the table exists. */
export interface GuardCounts {
  readonly dropped: Readonly<Record<Family, number>>;
  /** That left this host, `own` included. */
  readonly left: number;
  /** That this host made, other than ICMP, which is queued. */
  readonly own: number;
}

export interface GuardReading extends GuardCounts {
  /** How often this process changed the tables. */
  readonly changes: number;
}

/** Marks that our workers give: those of streams, of no flow and of no target. */
export function ownMarks({ markRanges, unmatchedMarks }: WantedKernel): MarkRange[] {
  return unitedRanges([...markRanges, ...unmatchedMarks.map(mark => ({ first: mark, last: mark }))]);
}

/** @param admitted marks of a configuration that workers still decide by */
export function guardTable(wanted: WantedKernel, admitted: readonly MarkRange[]): NftTable {
  const mark = { meta: { key: 'mark' } };
  const toVip = (family: Family): Statement => equals(addressOf(family, 'daddr'), `@ipv${family}-vips`);
  const unmarked = (family: Family): Statement[] => [toVip(family), namedCounter(droppedName(family)), DROP];
  const made = (family: Family): Statement[] => [
    compares('!=', { meta: { key: 'l4proto' } }, ICMP[family]),
    toVip(family),
    namedCounter(OWN),
  ];
  // Where those marks lead is their owner's choice: they may end here.
  const unmatched = wanted.unmatchedMarks.filter(
    each => !admits(wanted.markRanges, [{ first: each, last: each }]),
  );
  return {
    name: GUARD_TABLE,
    counters: [...FAMILIES.map(droppedName), LEFT, OWN],
    sets: [
      addressSet('ipv4-vips', 4, wanted.vips),
      addressSet('ipv6-vips', 6, wanted.vips),
      marksSet([...ownMarks(wanted), ...admitted]),
    ],
    chains: [
      {
        name: 'forward',
        hook: { type: 'filter', at: 'forward', priority: EARLY },
        // One look at the mark for what is ours, which is most of what comes.
        rules: [[equals(mark, `@${MARKS}`), ACCEPT], ...FAMILIES.map(unmarked)],
      },
      {
        name: 'postrouting',
        hook: { type: 'filter', at: 'postrouting', priority: LAST },
        rules: [
          ...unmatched.map(each => [equals(mark, each), RETURN]),
          ...FAMILIES.map(family => [toVip(family), namedCounter(LEFT)]),
        ],
      },
      {
        name: 'output',
        hook: { type: 'filter', at: 'output', priority: LAST },
        rules: FAMILIES.map(made),
      },
    ],
  };
}

/** Makes `marks` those that the guard lets pass, and no others. */
export function admitCommands(marks: readonly MarkRange[]): Command[] {
  const place = { family: 'inet', table: GUARD_TABLE, name: MARKS };
  const elem = marksSet(marks).elements;
  return [
    { flush: { set: place } },
    ...(elem.length === 0 ? [] : [{ add: { element: { ...place, elem } } }]),
  ];
}

/** Marks that the guard lets pass; null: it does not exist. @throws KernelError */
export async function listAdmitted(run: Run): Promise<MarkRange[] | null> {
  const objects = await listObjects(run, ['set', 'inet', GUARD_TABLE, MARKS]);
  return objects && listedMarks(objects, MARKS);
}

/** null: the guard does not exist. @throws KernelError */
export async function readGuard(run: Run): Promise<GuardCounts | null> {
  const names = [...FAMILIES.map(droppedName), LEFT, OWN];
  const packets = await listCounters(run, GUARD_TABLE, names);
  if (packets === null) return null;
  const [ipv4 = 0, ipv6 = 0, left = 0, own = 0] = packets;
  return { dropped: { 4: ipv4, 6: ipv6 }, left, own };
}

/** Whether all of `marks` are among `admitted`. */
export function admits(admitted: readonly MarkRange[], marks: readonly MarkRange[]): boolean {
  const united = unitedRanges(admitted);
  return marks.every(({ first, last }) => united.some(range => range.first <= first && last <= range.last));
}

function marksSet(marks: readonly MarkRange[]): NftSet {
  return markSet(MARKS, unitedRanges(marks));
}

function droppedName(family: Family): string {
  return `ipv${family}-dropped`;
}
