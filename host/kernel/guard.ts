/**
 * The guard: the host never forwards a packet that is addressed to a VIP and has none of our marks. Such a packet missed the
 * queue, or a rule of another program changed its mark; main would send it back to the gateway.
 *
 * - `forward` is the last at its hook. It drops those packets, and counts what leaves, to be compared with what the workers
 *   decided: what other programs drop in forward is missing there. One chain for both: each hook costs every packet.
 * - `output` counts the ICMP messages of this host to a VIP, which are queued too.
 */
import type { Run } from '../programs/command.js';
import { ADDRESS_BITS } from '../types/address.js';
import type { Family } from '../types/config.js';
import type { Statement } from './carrier.js';
import { type MarkRange, unitedRanges } from './marks.js';
import { listCounters, listObjects } from './nft-list.js';
import { listedMarks } from './nft-listing.js';
import type { Command, Element, NftSet, NftTable } from './nft-table.js';
import { markRule, ourBits } from './packet-mark.js';
import { withinPattern } from './pattern.js';
import {
  ACCEPT,
  addressOf,
  addressSet,
  DROP,
  equals,
  ICMP,
  markSet,
  namedCounter,
  rangeElement,
} from './statement.js';
import type { WantedKernel } from './wanted.js';

export const GUARD_TABLE = 'magmark-guard';
const MARKS = 'marks';
/** After every other chain. */
const LAST = 2 ** 31 - 1;
const LEFT = 'left';
const TO_VIP = 'to-vip';
const FAMILIES: readonly Family[] = [4, 6];

/** Packets to VIPs, since the table exists. */
export interface GuardCounts {
  readonly dropped: Readonly<Record<Family, number>>;
  /** That passed every chain of forward with a mark of ours. */
  readonly left: number;
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
  const { markMask } = wanted;
  const ofMark = (name: string, value: unknown, end: readonly Statement[]) =>
    markRule(markMask, name, [equals(ourBits(markMask), value), ...end]);
  // Where those marks lead is their owner's choice: they may end here.
  const unmatched = wanted.unmatchedMarks.filter(
    each => !admits(wanted.markRanges, [{ first: each, last: each }]),
  );
  const jump = { jump: { target: TO_VIP } };
  const left: Statement[] = [namedCounter(LEFT), ACCEPT];
  return {
    name: GUARD_TABLE,
    counters: [...FAMILIES.map(droppedName), LEFT],
    sets: [
      addressSet('ipv4-vips', 4, wanted.vips),
      addressSet('ipv6-vips', 6, wanted.vips),
      marksSet([...ownMarks(wanted), ...admitted]),
    ],
    chains: [
      {
        name: 'forward',
        hook: { type: 'filter', at: 'forward', priority: LAST },
        rules: FAMILIES.flatMap(family => toAnyVip(wanted, family).map(match => [match, jump])),
      },
      {
        name: 'output',
        hook: { type: 'filter', at: 'output', priority: LAST },
        rules: FAMILIES.map(family => [
          equals({ meta: { key: 'l4proto' } }, ICMP[family]),
          toVip(family),
          namedCounter(LEFT),
        ]),
      },
      {
        name: TO_VIP,
        hook: null,
        rules: [
          ...unmatched.map(each => ofMark('no flow or no target', each, [ACCEPT])),
          ...fewRanges(wanted).map(range => ofMark('a stream', range, left)),
          ofMark('a mark of ours', `@${MARKS}`, left),
          ...towardsTargets(wanted).map(name => [equals({ meta: { key: 'oifname' } }, name), ...left]),
          ...FAMILIES.map(family => [
            equals({ meta: { key: 'nfproto' } }, `ipv${family}`),
            namedCounter(droppedName(family)),
            DROP,
          ]),
        ],
      },
    ],
  };
}

/** So few values are compared one by one: a set takes longer. */
const FEW = 4;

function toAnyVip({ vips }: WantedKernel, family: Family): Statement[] {
  const own = vips.filter(vip => vip.family === family);
  const isFew = own.length <= FEW && own.every(vip => vip.length === ADDRESS_BITS[family]);
  if (!isFew) return [toVip(family)];
  return [...new Set(own.map(vip => vip.address))].map(address =>
    equals(addressOf(family, 'daddr'), address),
  );
}

function toVip(family: Family): Statement {
  return equals(addressOf(family, 'daddr'), `@ipv${family}-vips`);
}

/** The set holds all; those of a former configuration are in it alone. */
function fewRanges({ markRanges }: WantedKernel): Element[] {
  const united = unitedRanges(markRanges);
  return united.length <= FEW ? united.map(rangeElement) : [];
}

/**
 * Interfaces by which only targets are reached. What leaves by them got its route from a mark of ours, and another program
 * changed the mark since, in forward.
 */
function towardsTargets({ interfaces: { external, internal } }: WantedKernel): readonly string[] {
  return external === null || internal.some(pattern => withinPattern(external, pattern)) ? [] : internal;
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
  const names = [...FAMILIES.map(droppedName), LEFT];
  const packets = await listCounters(run, GUARD_TABLE, names);
  if (packets === null) return null;
  const [ipv4 = 0, ipv6 = 0, left = 0] = packets;
  return { dropped: { 4: ipv4, 6: ipv6 }, left };
}

/** Whether all of `marks` are among `admitted`. */
export function admits(admitted: readonly MarkRange[], marks: readonly MarkRange[]): boolean {
  const united = unitedRanges(admitted);
  const both = unitedRanges([...united, ...marks]);
  return (
    both.length === united.length &&
    both.every(({ first, last }, index) => first === united[index]!.first && last === united[index]!.last)
  );
}

function marksSet(marks: readonly MarkRange[]): NftSet {
  return markSet(MARKS, unitedRanges(marks));
}

function droppedName(family: Family): string {
  return `ipv${family}-dropped`;
}
