/**
 * djb2: h = 5381, then h = h * 33 + byte, in 32 bits.
 * Source: D. J. Bernstein; the hash that nfqlb takes its slots by.
 *
 * As written it is one chain of multiplications, each waiting for the one before. It is a polynomial in 33, though, so
 * eight bytes can be summed apart, in the lanes of a 64-bit word, and joined by a power of 33 afterwards.
 */
import { Parsed } from './layout';

const POWER_2: u32 = 33 * 33;
const POWER_4: u32 = POWER_2 * POWER_2;
const POWER_8: u32 = POWER_4 * POWER_4;
const POWER_16: u32 = POWER_8 * POWER_8;
const POWER_24: u32 = POWER_16 * POWER_8;
const POWER_32: u32 = POWER_16 * POWER_16;
/** What the first value contributes to a hash of 40 bytes. */
const START_40: u32 = 5381 * POWER_32 * POWER_8;
/** The same of an IPv4 key, with the bytes that are ff in every mapped address: 10, 11, 26, 27. */
const START_IPV4: u32 = START_40 + (0xff * 33 + 0xff) * POWER_4 * (POWER_24 + POWER_8);
/** ::ffff:0:0/96 as the little-endian low half of an address, without its last four bytes. */
const MAPPED: u32 = 0xffff0000;

/**
 * Four bytes as a polynomial in 33, twice: those of the low half of `word` in the low half, those of the high half in the
 * high one. The lowest byte of each has the highest power. No lane overflows: 255 * (33^3 + 33^2 + 33 + 1) < 2^32.
 */
@inline
function fours(word: u64): u64 {
  const pairs = (word & 0x00ff00ff00ff00ff) * 33 + ((word >> 8) & 0x00ff00ff00ff00ff);
  return (pairs & 0x0000ffff0000ffff) * POWER_2 + ((pairs >> 16) & 0x0000ffff0000ffff);
}

/** Eight bytes as a polynomial in 33, modulo 2^32. */
@inline
function eight(word: u64): u32 {
  const halves = fours(word);
  return <u32>halves * POWER_4 + <u32>(halves >> 32);
}

/** djb2 of the 40 bytes of a key. */
@inline
export function djb2Key(parsed: Parsed): u32 {
  const last = eight(<u64>parsed.echoId | (<u64>parsed.protocol << 16) | (portsOf(parsed) << 32));
  const source = parsed.source1;
  const destination = parsed.destination1;
  if ((parsed.source0 | parsed.destination0) == 0 && <u32>source == MAPPED && <u32>destination == MAPPED) {
    const addresses = fours((source >> 32) | (destination & 0xffffffff00000000));
    return START_IPV4 + <u32>addresses * POWER_24 + <u32>(addresses >> 32) * POWER_8 + last;
  }
  return (
    START_40 +
    eight(parsed.source0) * POWER_32 +
    eight(source) * POWER_24 +
    eight(parsed.destination0) * POWER_16 +
    eight(destination) * POWER_8 +
    last
  );
}

/** djb2 of the 4 bytes of a key's ports. */
@inline
export function djb2Ports(parsed: Parsed): u32 {
  return 5381 * POWER_4 + <u32>fours(portsOf(parsed));
}

/** As they were written: one load over two stores that are on their way to memory would wait for both. */
@inline
function portsOf(parsed: Parsed): u64 {
  return <u64>parsed.sourcePort | (<u64>parsed.destinationPort << 16);
}
