/** Axes of the core: bounds along a field, ascending, and where to begin to search among them. */
import { WORDS } from './address-words.js';
import type { Networks } from './networks.js';
import type { Slab } from './slab.js';
import type { Core } from './wasm.js';

export class AxisWriter {
  private readonly view: DataView;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly slab: Slab,
    private readonly networks: Networks,
  ) {
    this.view = new DataView(memory.buffer);
  }

  /**
   * Numbers of 32 bits, and where the search begins: the field from the second bound to the last is cut into at least as many
   * equal parts as there are bounds, so that where they lie evenly only few are left in each.
   * @param at of the Axis; @param bounds the first is 0; @param rows address of what stands for each bound
   */
  numbers(at: number, bounds: Uint32Array, rows: number): void {
    const { Layout } = this.core;
    const base = bounds[1] ?? 0xffff_ffff;
    const length = Math.max(0, bounds.at(-1)! - base);
    let shift = 0;
    while (length / 2 ** (shift + 1) >= bounds.length) shift++;
    const partLength = 2 ** shift;
    const lastPart = Math.floor(length / partLength);
    const starts = new Uint32Array(lastPart + 2);
    for (let part = 0, place = 0; part <= lastPart; part++) {
      while (place + 1 < bounds.length && bounds[place + 1]! <= base + part * partLength) place++;
      starts[part] = place;
    }
    starts[lastPart + 1] = bounds.length - 1;
    this.head(at, bounds.length, rows);
    this.view.setUint32(at + Layout.AxisBounds, this.place(bounds), true);
    this.view.setUint32(at + Layout.AxisBase, base, true);
    this.view.setUint32(at + Layout.AxisShift, shift, true);
    this.view.setUint32(at + Layout.AxisLastPart, lastPart, true);
    this.view.setUint32(at + Layout.AxisStarts, this.place(starts), true);
  }

  /** IPv4 addresses. @param places ascending; the first, wherever it is, stands for 0.0.0.0 */
  ipv4(at: number, places: Uint32Array, rows: number): void {
    const bounds = places.map(place => this.networks.words[place * WORDS + WORDS - 1]!);
    bounds[0] = 0;
    this.numbers(at, bounds, rows);
  }

  /** Other addresses. @param places ascending, the first is that of :: */
  ipv6(at: number, places: Uint32Array, rows: number): void {
    const { words } = this.networks;
    this.head(at, places.length, rows);
    const address = this.slab.place(places.length * 16, 16);
    this.view.setUint32(at + this.core.Layout.AxisBounds, address, true);
    const bounds = new Uint32Array(this.view.buffer, address, places.length * WORDS);
    for (let index = 0; index < places.length; index++) {
      const from = places[index]! * WORDS;
      // Two words make a number of 64 bits, the lower one first.
      for (let word = 0; word < WORDS; word++) bounds[index * WORDS + word] = words[from + (word ^ 1)]!;
    }
  }

  private head(at: number, count: number, rows: number): void {
    this.view.setUint32(at + this.core.Layout.AxisCount, count, true);
    this.view.setUint32(at + this.core.Layout.AxisRows, rows, true);
  }

  private place(values: Uint32Array): number {
    const address = this.slab.place(values.length * 4, 4);
    new Uint32Array(this.view.buffer, address, values.length).set(values);
    return address;
  }
}
