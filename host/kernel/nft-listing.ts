/** What `nft -j list` prints, compared with a wanted table. */

import { addressNumber, type Interval, prefixInterval, unitedIntervals } from '../types/address.js';
import type { Family } from '../types/config.js';
import type { MarkRange } from './marks.js';
import {
  frameObjects,
  type NftContents,
  type NftDifference,
  type NftTable,
  ruleObjects,
  type SurplusChain,
} from './nft-table.js';

interface Fields {
  readonly [key: string]: unknown;
}
/** One object of a listing: its kind and its fields, for example `{"set": {...}}`. */
export type ListedObject = Readonly<Record<string, Fields>>;

/**
 * `beyond repair` where the table is missing, lacks a counter, or holds one of our names with another meaning or what is
 * neither set nor chain.
 * @param objects of `nft -j list table`
 */
export function differenceOf(
  objects: readonly ListedObject[],
  wanted: NftTable,
): NftDifference | 'beyond repair' {
  const named = new Map(frameObjects(wanted).map(object => [nameOf(object as ListedObject), object]));
  const frame = objects.filter(object => object.rule === undefined);
  const isMendable = frame.every(object => {
    const asked = named.get(nameOf(object));
    if (asked === undefined) {
      return object.chain !== undefined || object.set !== undefined;
    }
    return canonicalText(object) === canonicalText(asked);
  });
  const listed = new Set(frame.map(nameOf));
  const counts = (wanted.counters ?? []).every(name => listed.has(`counter ${name}`));
  if (!frame.some(({ table }) => table !== undefined) || !isMendable || !counts) {
    return 'beyond repair';
  }
  const pick = (isListed: boolean): NftContents => ({
    chains: wanted.chains.filter(({ name }) => listed.has(`chain ${name}`) === isListed),
    sets: wanted.sets.filter(({ name }) => listed.has(`set ${name}`) === isListed),
  });
  const standing = pick(true);
  const surplus = frame.filter(object => !named.has(nameOf(object)));
  return {
    missing: pick(false),
    changed: {
      chains: standing.chains.filter(chain => {
        // Rules have an order, the other objects have none.
        const asked = ruleObjects({ ...wanted, chains: [chain] });
        return texts(rulesOf(objects, chain.name)) !== texts(asked);
      }),
      sets: standing.sets.filter(({ name, elements }) => {
        const found = objects.find(({ set }) => set?.name === name)?.set;
        return intervalsText((found?.elem ?? []) as unknown[]) !== intervalsText(elements);
      }),
    },
    surplus: {
      chains: surplus.flatMap(({ chain }) => (chain === undefined ? [] : [surplusChain(objects, chain)])),
      sets: surplus.flatMap(({ set }) => (set === undefined ? [] : [set.name as string])),
    },
  };
}

/** `chain nfqlb`: each kind has names of its own. */
function nameOf(object: ListedObject): string {
  const [kind, fields] = Object.entries(object)[0]!;
  return `${kind} ${fields.name}`;
}

function rulesOf(objects: readonly ListedObject[], chain: string): ListedObject[] {
  return objects.filter(({ rule }) => rule?.chain === chain);
}

function surplusChain(objects: readonly ListedObject[], chain: Fields): SurplusChain {
  const name = chain.name as string;
  return { name, harmless: chain.policy === 'accept', empty: rulesOf(objects, name).length === 0 };
}

/** The elements of the set of marks `name`. */
export function listedMarks(objects: readonly ListedObject[], name: string): MarkRange[] {
  const elements = (objects.find(({ set }) => set?.name === name)?.set?.elem ?? []) as unknown[];
  return elements
    .map(elementInterval)
    .filter(({ first }) => first >= 0n)
    .map(({ first, last }) => ({ first: Number(first), last: Number(last) }));
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

function texts(objects: readonly object[]): string {
  return objects.map(canonicalText).join();
}

/** Equal for equal objects: without handles, counts and elements. */
function canonicalText(object: object): string {
  return JSON.stringify(object, canonicalValue);
}

const MARK_BITS = 32;
const VOLATILE = new Set(['handle', 'elem', 'packets', 'bytes']);

function canonicalValue(key: string, value: unknown): unknown {
  if (key === 'flags' && typeof value === 'string') {
    // Newer versions of nft print a single flag so.
    return [value];
  }
  if (key === 'match' && isProtocolMatch(value)) {
    return canonicalValue(key, { ...value, right: PROTOCOL_NUMBERS[value.right] });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return value;
  }
  // What a comment stands for is not compared.
  const isNamed = 'comment' in value;
  const entries = Object.entries(value).filter(
    ([name]) => !VOLATILE.has(name) && !(isNamed && name === 'expr'),
  );
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** nft lists a protocol by its name where /etc/protocols has one. */
const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = { icmp: 1, icmpv6: 58, 'ipv6-icmp': 58 };

function isProtocolMatch(value: unknown): value is { readonly right: string } {
  const { left, right } = value as { left?: { meta?: { key?: string } }; right?: unknown };
  return left?.meta?.key === 'l4proto' && typeof right === 'string' && right in PROTOCOL_NUMBERS;
}

function intervalsText(elements: readonly unknown[]): string {
  return unitedIntervals(elements.map(elementInterval))
    .map(({ first, last }) => `${first}-${last}`)
    .join();
}

/** An element is an address or a number, `{"prefix": {"addr", "len"}}` or `{"range": [first, last]}`. */
function elementInterval(element: unknown): Interval {
  if (typeof element === 'string' || typeof element === 'number') {
    return { first: numberOf(element), last: numberOf(element) };
  }
  const { prefix, range } = element as {
    prefix?: { addr: string | number; len: number };
    range?: [string | number, string | number];
  };
  if (range !== undefined) {
    return { first: numberOf(range[0]), last: numberOf(range[1]) };
  }
  if (prefix === undefined) {
    // Another form, made by another hand (a timeout, a comment): equal to nothing that is wanted.
    return { first: -1n, last: -1n };
  }
  const { addr, len } = prefix;
  if (typeof addr === 'number') {
    // So nft lists an interval of marks where it can.
    return { first: BigInt(addr), last: BigInt(addr) + (1n << BigInt(MARK_BITS - len)) - 1n };
  }
  const family: Family = addr.includes(':') ? 6 : 4;
  return prefixInterval({ family, address: addr, length: len });
}

function numberOf(value: string | number): bigint {
  return typeof value === 'number' ? BigInt(value) : addressNumber(value);
}
