/** Maglev as nfqlb on glibc fills it, in the plainest words: exists to be compared with the core. */

/** glibc's rand() after srand(1). */
export function* glibcRand(): Generator<number, never> {
  const r: number[] = [1];
  for (let i = 1; i < 31; i++) r[i] = Number((16807n * BigInt(r[i - 1]!)) % 2147483647n);
  for (let i = 31; i < 34; i++) r[i] = r[i - 31]!;
  for (let i = 34; ; i++) {
    r[i] = (r[i - 3]! + r[i - 31]!) >>> 0;
    if (i >= 344) yield r[i]! >>> 1;
  }
}

/** Target index by slot, -1 where nobody is. Rows are (offset + j x skip) mod size in exact arithmetic. */
export function referenceTable(size: number, targetCount: number, active: readonly number[]): number[] {
  const rand = glibcRand();
  const rows = Array.from({ length: targetCount }, () => {
    const offset = rand.next().value % size;
    return { offset, skip: (rand.next().value % (size - 1)) + 1, j: 0 };
  });
  const slots = new Array<number>(size).fill(-1);
  const ascending = active.toSorted((one, other) => one - other);
  for (let taken = 0; ascending.length > 0; ) {
    for (const index of ascending) {
      const row = rows[index]!;
      let slot = 0;
      do {
        slot = (row.offset + row.j++ * row.skip) % size;
      } while (slots[slot] !== -1);
      slots[slot] = index;
      if (++taken === size) return slots;
    }
  }
  return slots;
}

/** The largest prime not above `n`, at least 3. */
export function referencePrime(n: number): number {
  for (let candidate = n; candidate > 3; candidate--) {
    let divisor = 2;
    while (divisor * divisor <= candidate && candidate % divisor !== 0) divisor++;
    if (divisor * divisor > candidate) return candidate;
  }
  return 3;
}
