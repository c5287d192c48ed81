/** Addresses as four words of 32 bits, the most significant first; IPv4 as ::ffff:a.b.c.d. For texts by the million. */
import { addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';

export const BITS = 128;
export const WORDS = 4;
/** Bits in front of an IPv4 address. */
export const MAPPED_BITS = 96;
export const MAPPED_WORD = 0xffff;

/** Write the words of a valid address. @param at index of the first of them */
export function writeAddressWords(family: Family, address: string, words: Uint32Array, at: number): void {
  words.fill(0, at, at + WORDS);
  if (family === 4) {
    words[at + 2] = MAPPED_WORD;
    words[at + 3] = dotted(address);
  } else if (address.includes('.')) {
    // A dotted tail (RFC 4291, section 2.2), which no canonical text has.
    const number = addressNumber(address);
    for (let word = 0; word < WORDS; word++)
      words[at + word] = Number((number >> BigInt(32 * (WORDS - 1 - word))) & 0xffff_ffffn);
  } else {
    writeGroups(address, words, at);
  }
}

/** Bits of word `word`, 0 to 3, that a prefix of `length` bits covers. */
export function maskWord(length: number, word: number): number {
  const bits = length - 32 * word;
  if (bits <= 0) return 0;
  return bits >= 32 ? 0xffff_ffff : (0xffff_ffff << (32 - bits)) >>> 0;
}

function dotted(text: string): number {
  let number = 0;
  let byte = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 46) {
      number = number * 256 + byte;
      byte = 0;
    } else {
      byte = byte * 10 + code - 48;
    }
  }
  return number * 256 + byte;
}

/** Groups of 16 bits: those before `::` from the front, those behind it from the end. */
function writeGroups(text: string, words: Uint32Array, at: number): void {
  const gap = text.indexOf('::');
  const put = (group: number, from: number, to: number) => {
    const value = Number.parseInt(text.slice(from, to), 16);
    words[at + (group >> 1)]! |= group & 1 ? value : value << 16;
  };
  const end = gap < 0 ? text.length : gap;
  for (let from = 0, group = 0; from < end; group++) {
    const colon = text.indexOf(':', from);
    const to = colon < 0 ? end : colon;
    put(group, from, to);
    from = to + 1;
  }
  if (gap < 0) return;
  for (let to = text.length, group = 7; to > gap + 2; group--) {
    const from = text.lastIndexOf(':', to - 1) + 1;
    put(group, from, to);
    to = from - 1;
  }
}
