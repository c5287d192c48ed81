/**
 * Maglev tables, bit for bit those of nfqlb built against glibc.
 * Source: D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4.
 */
import { EMPTY } from './layout';
import { Reason } from './reason';

/** Words of the state of glibc's additive feedback generator (TYPE_3, degree 31, separation 3). */
const RAND_WORDS: u32 = 31;
/** Outputs that glibc's srand() throws away, and the seeds before them. */
const RAND_FIRST: u32 = 344;

/** Bytes of scratch that `populate` needs for `targetCount` indexes: with the table M + N words, since rows are stepped and not kept. */
export function populateScratchBytes(targetCount: u32): u32 {
  return RAND_WORDS * 4 + targetCount * <u32>offsetof<Row>();
}

/** How far an active index is in its row of the permutation table. */
@unmanaged
class Row {
  index: u32;
  next: u32;
  skip: u32;
}

/** r[i] = r[i-3] + r[i-31]; the ring holds the last 31. */
@inline
function step(ring: usize, i: u32): u32 {
  const at = ring + <usize>((i % RAND_WORDS) * 4);
  const word = load<u32>(at) + load<u32>(ring + <usize>(((i - 3) % RAND_WORDS) * 4));
  store<u32>(at, word);
  return word;
}

/**
 * Fill `slots` so that each active index owns a near-equal share of the table.
 * @param slots       u16[size], target index; EMPTY everywhere where no index is active
 * @param size        prime, at least 3
 * @param active      u8[targetCount], not 0: active
 * @param targetCount 1..Limit.Targets
 * @param scratch     `populateScratchBytes(targetCount)` bytes, aligned to 4, overwritten
 * @returns Reason.Ok, or Reason.NotPrime with slots untouched
 */
export function populate(slots: usize, size: u32, active: usize, targetCount: u32, scratch: usize): Reason {
  if (size < 3 || primeAtMost(size) != size) return Reason.NotPrime;
  const ring = scratch;
  const rows = ring + <usize>(RAND_WORDS * 4);

  // glibc's srand(1): Lehmer seeds, then 310 values that nobody sees. Never reseeded within a table.
  let seed: u64 = 1;
  for (let i: u32 = 0; i < RAND_WORDS; i++) {
    store<u32>(ring + <usize>(i * 4), <u32>seed);
    seed = (seed * 16807) % 2147483647;
  }
  let turn: u32 = 34;
  for (; turn < RAND_FIRST; turn++) step(ring, turn);

  // An index owns its numbers whoever sits there: inactive ones consume theirs too. Only active ones are gone through
  // below: with 3 of 10,000 active, a round over all of them would make a large table take minutes.
  let end = rows;
  for (let index: u32 = 0; index < targetCount; index++) {
    const offset = (step(ring, turn++) >> 1) % size;
    const skip = ((step(ring, turn++) >> 1) % (size - 1)) + 1;
    if (load<u8>(active + <usize>index) == 0) continue;
    const row = changetype<Row>(end);
    row.index = index;
    row.next = offset;
    row.skip = skip;
    end += offsetof<Row>();
  }

  for (let slot: u32 = 0; slot < size; slot++) store<u16>(slots + <usize>(slot * 2), EMPTY);
  if (end == rows) return Reason.Ok;

  let filled: u32 = 0;
  while (true) {
    for (let at = rows; at < end; at += offsetof<Row>()) {
      const row = changetype<Row>(at);
      const skip = row.skip;
      let next = row.next;
      // offset + j * skip overflows u32 above 65,536 slots: add and wrap instead.
      while (load<u16>(slots + <usize>(next * 2)) != EMPTY) {
        next += skip;
        if (next >= size) next -= size;
      }
      store<u16>(slots + <usize>(next * 2), <u16>row.index);
      next += skip;
      if (next >= size) next -= size;
      row.next = next;
      if (++filled == size) return Reason.Ok;
    }
  }
  return Reason.Ok;
}

/** The largest prime that is not above `n`, at least 3. */
export function primeAtMost(n: u32): u32 {
  if (n <= 3) return 3;
  let candidate = n | 1;
  if (candidate > n) candidate -= 2;
  while (!isOddPrime(candidate)) candidate -= 2;
  return candidate;
}

function isOddPrime(n: u32): bool {
  for (let divisor: u32 = 3; <u64>divisor * divisor <= n; divisor += 2) {
    if (n % divisor == 0) return false;
  }
  return true;
}
