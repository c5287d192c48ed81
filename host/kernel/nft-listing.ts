/** What `nft -j list` prints, compared with a wanted table. */

import { addressNumber, type Interval, prefixInterval, unitedIntervals } from '../types/address.js';
import type { Family } from '../types/config.js';
import { frameObjects, type NftTable, ruleObjects } from './nft.js';

/**
 * How a listed table differs: in the table, sets or chains themselves (`frame`), or in the rules of these chains and the
 * elements of these sets, as wanted.
 */
export type Difference = 'frame' | Pick<NftTable, 'chains' | 'sets'>;

interface Fields {
  readonly [key: string]: unknown;
}
/** One object of a listing: its kind and its fields, for example `{"set": {...}}`. */
type ListedObject = Readonly<Record<string, Fields>>;

/** `objects` of a listing: `(JSON of nft).nftables`. */
export function listedObjects(listing: unknown): ListedObject[] {
  return (listing as { nftables: ListedObject[] }).nftables.filter(object => object.metainfo === undefined);
}

/** Tables of a listing as `inet meridio-nfqlb`. */
export function listedTables(listing: unknown): Set<string> {
  return new Set(
    listedObjects(listing).flatMap(({ table }) =>
      table === undefined ? [] : [`${table.family} ${table.name}`],
    ),
  );
}

/** @param objects of `nft -j list table` */
export function differenceOf(objects: readonly ListedObject[], wanted: NftTable): Difference {
  const frame = objects.filter(object => object.rule === undefined);
  if (canonicalTexts(frame).sort().join() !== canonicalTexts(frameObjects(wanted)).sort().join()) {
    return 'frame';
  }
  return {
    chains: wanted.chains.filter(chain => {
      const listed = objects.filter(({ rule }) => rule?.chain === chain.name);
      // Rules have an order, the other objects have none.
      const asked = ruleObjects({ ...wanted, chains: [chain] });
      return canonicalTexts(listed).join() !== canonicalTexts(asked).join();
    }),
    sets: wanted.sets.filter(({ name, elements }) => {
      const listed = objects.find(({ set }) => set?.name === name)?.set;
      return intervalsText((listed?.elem ?? []) as unknown[]) !== intervalsText(elements);
    }),
  };
}

/** True if a listed table has no rule, and no chain but those that xtables makes by itself. */
export function isEmptyMangle(objects: readonly ListedObject[]): boolean {
  return objects.every(
    ({ table, chain }) => table !== undefined || BUILT_IN_CHAINS.has(chain?.name as string | undefined),
  );
}

const BUILT_IN_CHAINS = new Set<string | undefined>([
  'PREROUTING',
  'INPUT',
  'FORWARD',
  'OUTPUT',
  'POSTROUTING',
]);

/** Texts that are equal for equal objects: without handles, counts and elements. */
function canonicalTexts(objects: readonly object[]): string[] {
  return objects.map(object => JSON.stringify(object, canonicalValue));
}

const VOLATILE = new Set(['handle', 'elem', 'packets', 'bytes']);

function canonicalValue(key: string, value: unknown): unknown {
  if (key === 'flags' && typeof value === 'string') {
    // Newer versions of nft print a single flag so.
    return [value];
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return value;
  }
  const entries = Object.entries(value).filter(([name]) => !VOLATILE.has(name));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function intervalsText(elements: readonly unknown[]): string {
  return unitedIntervals(elements.map(elementInterval))
    .map(({ first, last }) => `${first}-${last}`)
    .join();
}

/** An element is an address, `{"prefix": {"addr", "len"}}` or `{"range": [first, last]}`. */
function elementInterval(element: unknown): Interval {
  if (typeof element === 'string') {
    return { first: addressNumber(element), last: addressNumber(element) };
  }
  const { prefix, range } = element as {
    prefix?: { addr: string; len: number };
    range?: [string, string];
  };
  if (range !== undefined) {
    return { first: addressNumber(range[0]), last: addressNumber(range[1]) };
  }
  if (prefix === undefined) {
    // Another form, made by another hand (a timeout, a comment): equal to nothing that is wanted.
    return { first: -1n, last: -1n };
  }
  const { addr, len } = prefix;
  const family: Family = addr.includes(':') ? 6 : 4;
  return prefixInterval({ family, address: addr, length: len });
}
