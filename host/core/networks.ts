/**
 * The networks of an image on the one line of 128-bit addresses on which the core compares, IPv4 as ::ffff:a.b.c.d. Each is a
 * number, ascending by where it begins, and what holds another before it. Where any of them begins or ends is a place, ascending
 * too: whatever is asked of networks is asked of small numbers.
 */
import type { Prefix } from '../types/config.js';
import { BITS, MAPPED_BITS, maskWord, WORDS, writeAddressWords } from './address-words.js';

/** The network of every address, which is always there. */
export const ANY = 0;

export interface Networks {
  readonly count: number;
  /** Bits, 0 to 128, by network; an IPv4 prefix has 96 more than in its text. */
  readonly lengths: Uint8Array;
  /** By network: the place of its first address, and that behind its last; `placeCount` is the end of the line. */
  readonly firsts: Uint32Array;
  readonly behinds: Uint32Array;
  readonly placeCount: number;
  /** Four words for each place. */
  readonly words: Uint32Array;
  /** The places where IPv4 begins and behind its end. */
  readonly ipv4First: number;
  readonly ipv4Behind: number;
}

/** Networks, and those of each list: the fewest that hold the same addresses, ascending, whichever family wrote them. */
export interface ListedNetworks {
  readonly networks: Networks;
  readonly lists: readonly Uint32Array[];
}

const IPV4: Prefix = { family: 4, address: '0.0.0.0', length: 0 };
const ALL: Prefix = { family: 6, address: '::', length: 0 };
const EMPTY = new Uint32Array(0);

export function networksOf(lists: readonly (readonly Prefix[])[]): ListedNetworks {
  const written = [[ALL, IPV4], ...lists];
  const prefixes = new Written(written.reduce((sum, list) => sum + list.length, 0));
  for (const list of written) for (const prefix of list) prefixes.add(prefix);
  const { numbers, ...distinct } = prefixes.numbered();
  const places = placesOf(distinct.words, distinct.lengths);
  const ipv4 = numbers[1]!;
  const networks: Networks = {
    count: distinct.lengths.length,
    lengths: distinct.lengths,
    ...places,
    ipv4First: places.firsts[ipv4]!,
    ipv4Behind: places.behinds[ipv4]!,
  };
  let next = 2;
  return {
    networks,
    lists: lists.map(({ length }) => {
      next += length;
      return length === 0 ? EMPTY : withoutHeld(networks, numbers.subarray(next - length, next));
    }),
  };
}

/** The networks that are asked for, ascending. */
export function networksWhere({ count }: Networks, is: (network: number) => boolean): Uint32Array {
  const some = new Uint32Array(count);
  let length = 0;
  for (let network = 0; network < count; network++) if (is(network)) some[length++] = network;
  return some.subarray(0, length);
}

/** For each of some networks, ascending, the index of the next shorter one of them that holds it, or -1. */
export function parentsOf(networks: Networks, some: Uint32Array): Int32Array {
  const open: number[] = [];
  const parents = new Int32Array(some.length);
  for (let index = 0; index < some.length; index++) {
    while (open.length > 0 && networks.behinds[some[open.at(-1)!]!]! <= networks.firsts[some[index]!]!)
      open.pop();
    parents[index] = open.at(-1) ?? -1;
    open.push(index);
  }
  return parents;
}

/** In place. */
function withoutHeld(networks: Networks, list: Uint32Array): Uint32Array {
  if (list.length === 1) return list;
  list.sort();
  let kept = 0;
  for (let index = 0; index < list.length; index++)
    if (kept === 0 || networks.behinds[list[kept - 1]!]! <= networks.firsts[list[index]!]!)
      list[kept++] = list[index]!;
  return list.subarray(0, kept);
}

/** Prefixes as they were written, in the order of `add`. */
class Written {
  private readonly words: Uint32Array;
  private readonly lengths: Uint8Array;
  private at = 0;

  constructor(private readonly count: number) {
    this.words = new Uint32Array(count * WORDS);
    this.lengths = new Uint8Array(count);
  }

  /** Host bits are cleared. */
  add({ family, address, length }: Prefix): void {
    const bits = family === 4 ? length + MAPPED_BITS : length;
    const at = this.at * WORDS;
    writeAddressWords(family, address, this.words, at);
    for (let word = 0; word < WORDS; word++) this.words[at + word]! &= maskWord(bits, word);
    this.lengths[this.at++] = bits;
  }

  /** What is equal has one number, ascending. */
  numbered(): { numbers: Uint32Array; words: Uint32Array; lengths: Uint8Array } {
    const { words, lengths, count } = this;
    const order = this.ascending();
    const numbers = new Uint32Array(count);
    const ownWords = new Uint32Array(count * WORDS);
    const ownLengths = new Uint8Array(count);
    let distinct = 0;
    for (let place = 0; place < count; place++) {
      const index = order[place]!;
      const same =
        distinct > 0 &&
        ownLengths[distinct - 1] === lengths[index] &&
        sameWords(ownWords, (distinct - 1) * WORDS, words, index * WORDS);
      if (!same) {
        for (let word = 0; word < WORDS; word++)
          ownWords[distinct * WORDS + word] = words[index * WORDS + word]!;
        ownLengths[distinct++] = lengths[index]!;
      }
      numbers[index] = distinct - 1;
    }
    return { numbers, words: ownWords.slice(0, distinct * WORDS), lengths: ownLengths.slice(0, distinct) };
  }

  /** Sorted by address, then length: by digits of 8 bits, the least significant first; digits that all share sort nothing. */
  private ascending(): Uint32Array {
    const { words, lengths, count } = this;
    let order = new Uint32Array(count).map((_, index) => index);
    let next = new Uint32Array(count);
    const digits = new Uint8Array(count);
    const sortByDigits = () => {
      const ends = new Uint32Array(256);
      for (let index = 0; index < count; index++) ends[digits[index]!]!++;
      if (ends.includes(count)) return;
      for (let digit = 0, sum = 0; digit < 256; digit++) {
        const many = ends[digit]!;
        ends[digit] = sum;
        sum += many;
      }
      for (let place = 0; place < count; place++) next[ends[digits[order[place]!]!]!++] = order[place]!;
      [order, next] = [next, order];
    };
    digits.set(lengths);
    sortByDigits();
    for (let word = WORDS - 1; word >= 0; word--)
      for (let shift = 0; shift < 32; shift += 8) {
        for (let index = 0; index < count; index++) digits[index] = words[index * WORDS + word]! >>> shift;
        sortByDigits();
      }
    return order;
  }
}

function sameWords(one: Uint32Array, oneAt: number, other: Uint32Array, otherAt: number): boolean {
  for (let word = 0; word < WORDS; word++) if (one[oneAt + word] !== other[otherAt + word]) return false;
  return true;
}

/** Where the networks begin and end. @param words first addresses, ascending; @param lengths of the networks */
function placesOf(
  words: Uint32Array,
  lengths: Uint8Array,
): Pick<Networks, 'firsts' | 'behinds' | 'words' | 'placeCount'> {
  const count = lengths.length;
  const firsts = new Uint32Array(count);
  const behinds = new Uint32Array(count);
  const places = new Uint32Array(2 * count * WORDS);
  const place = new Uint32Array(WORDS);
  let placeCount = 0;
  const numberOfPlace = () => {
    if (placeCount === 0 || !sameWords(places, (placeCount - 1) * WORDS, place, 0))
      places.set(place, placeCount++ * WORDS);
    return placeCount - 1;
  };
  const open: number[] = [];
  const endsAtEndOfLine: number[] = [];
  const close = () => {
    const network = open.pop()!;
    if (behind(words, lengths, network, place)) behinds[network] = numberOfPlace();
    else endsAtEndOfLine.push(network);
  };
  for (let network = 0; network < count; network++) {
    while (open.length > 0 && !isWithin(words, network, open.at(-1)!, lengths[open.at(-1)!]!)) close();
    for (let word = 0; word < WORDS; word++) place[word] = words[network * WORDS + word]!;
    firsts[network] = numberOfPlace();
    open.push(network);
  }
  while (open.length > 0) close();
  for (const network of endsAtEndOfLine) behinds[network] = placeCount;
  return { firsts, behinds, words: places.slice(0, placeCount * WORDS), placeCount };
}

function isWithin(words: Uint32Array, inner: number, outer: number, outerLength: number): boolean {
  for (let word = 0; word < WORDS; word++) {
    const difference = words[inner * WORDS + word]! ^ words[outer * WORDS + word]!;
    if ((difference & maskWord(outerLength, word)) !== 0) return false;
  }
  return true;
}

/** The address behind the last one of a network, into `place`. @returns whether there is one */
function behind(words: Uint32Array, lengths: Uint8Array, network: number, place: Uint32Array): boolean {
  const length = lengths[network]!;
  let carry = 1;
  for (let word = WORDS - 1; word >= 0; word--) {
    const last = (words[network * WORDS + word]! | ~maskWord(length, word)) >>> 0;
    place[word] = last + carry;
    carry = last + carry > 0xffff_ffff ? 1 : 0;
  }
  return carry === 0;
}

/** Word `word`, 0 to 3, of the first address of a network. */
export function firstWord({ words, firsts }: Networks, network: number, word: number): number {
  return words[firsts[network]! * WORDS + word]!;
}

/** Whether the network holds one address alone. */
export function isWhole({ lengths }: Networks, network: number): boolean {
  return lengths[network] === BITS;
}
