/** Lists of small numbers, by the million: all items in one array, and where each list begins. */

export class Lists {
  /** @param starts of the lists, and the end of the last */
  constructor(
    private readonly starts: Uint32Array,
    private readonly items: Uint32Array,
  ) {}

  /** Of numbers below `items`: for each, ascending, the lists that have it. */
  static byItem(lists: readonly Uint32Array[], items: number): Lists {
    const starts = new Uint32Array(items + 1);
    for (const list of lists) for (let index = 0; index < list.length; index++) starts[list[index]! + 1]!++;
    for (let item = 0; item < items; item++) starts[item + 1]! += starts[item]!;
    const next = starts.slice();
    const owners = new Uint32Array(starts[items]!);
    lists.forEach((list, owner) => {
      for (let index = 0; index < list.length; index++) owners[next[list[index]!]!++] = owner;
    });
    return new Lists(starts, owners);
  }

  lengthOf(index: number): number {
    return this.starts[index + 1]! - this.starts[index]!;
  }

  of(index: number): Uint32Array {
    return this.items.subarray(this.starts[index]!, this.starts[index + 1]!);
  }
}
