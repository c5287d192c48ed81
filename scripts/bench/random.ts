/** Random numbers by a seed, quick enough for millions of packets. Source: xorshift32, G. Marsaglia, 2003. */
export class Random {
  private state: number;

  constructor(seed: number) {
    // 0 is the one state that never leaves itself; seeds that follow one another begin far apart.
    this.state = Math.imul(seed + 1, 0x9e3779b1) || 1;
  }

  /** A whole number of 0..2^32-1, never the same twice in a row. */
  word(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }

  /** 0..count-1 */
  below(count: number): number {
    return Math.floor((this.word() / 2 ** 32) * count);
  }

  chance(of: number): boolean {
    return this.below(of) === 0;
  }

  pick<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)]!;
  }

  /** `least` to `most` values of `make`. */
  list<Value>(least: number, most: number, make: () => Value): Value[] {
    return Array.from({ length: least + this.below(most - least + 1) }, make);
  }

  /** 0..2^128-1 */
  address(): bigint {
    return [0, 0, 0, 0].reduce(sum => (sum << 32n) | BigInt(this.word()), 0n);
  }
}
