/** What `nft -j list` prints, compared with a wanted table. */

import { addressNumber, type Interval, prefixInterval, unitedIntervals } from '../types/address.js';
import type { Family } from '../types/config.js';
import { type NftTable, tableObjects } from './nft.js';

/** How a listed table differs: in nothing, in its sets' elements alone, or otherwise. */
export type Difference = 'none' | 'elements' | 'structure';

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
  if (canonical(objects) !== canonical(tableObjects(wanted) as ListedObject[])) {
    return 'structure';
  }
  const sets = objects.flatMap(({ set }) => (set === undefined ? [] : [set]));
  const same = wanted.sets.every(({ name, elements }) => {
    const listed = sets.find(set => set.name === name);
    return intervalsText((listed?.elem ?? []) as unknown[]) === intervalsText(elements);
  });
  return same ? 'none' : 'elements';
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

/** Text that is equal for equal structure: without handles, counts and elements; only rules have an order. */
function canonical(objects: readonly ListedObject[]): string {
  const texts = objects.map(object => JSON.stringify(object, canonicalValue));
  const rules = objects.flatMap((object, index) =>
    object.rule === undefined ? [] : [[object.rule.chain as string, texts[index]!] as const],
  );
  const others = texts.filter((_, index) => objects[index]!.rule === undefined).sort();
  // A stable sort: rules of one chain keep their order.
  const ordered = rules.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, text]) => text);
  return [...others, ...ordered].join('\n');
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
