/** Axes of the core: bounds along a field, ascending, and where to begin to search among them. */
import { LINE_LAST, LOW_HALF, placeKey } from './network.js';
import type { Slab } from './slab.js';
import type { Core } from './wasm.js';

/** The values of a field: ports and IPv4 addresses are numbers, all addresses bigints. */
export interface Line<Value> {
  readonly zero: Value;
  readonly last: Value;
  readonly next: (value: Value) => Value;
  /** As the key of a Map. */
  readonly key: (value: Value) => number | string;
  /** Address of the bounds of an axis, written with what else the axis says of them. */
  readonly write: (writer: AxisWriter, at: number, bounds: readonly Value[]) => void;
}

export const PORTS: Line<number> = {
  zero: 0,
  last: 0xffff,
  next: value => value + 1,
  key: value => value,
  write: (writer, at, bounds) => writer.numbers(at, bounds),
};

export const IPV4: Line<number> = { ...PORTS, last: 0xffff_ffff };

export const IPV6: Line<bigint> = {
  zero: 0n,
  last: LINE_LAST,
  next: value => value + 1n,
  key: placeKey,
  write: (writer, at, bounds) => writer.bigints(at, bounds),
};

export class AxisWriter {
  private readonly view: DataView;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly slab: Slab,
  ) {
    this.view = new DataView(memory.buffer);
  }

  /** @param at of the Axis; @param rows address of what stands for each bound */
  write<Value>(at: number, line: Line<Value>, bounds: readonly Value[], rows: number): void {
    const { Layout } = this.core;
    this.view.setUint32(at + Layout.AxisCount, bounds.length, true);
    this.view.setUint32(at + Layout.AxisRows, rows, true);
    line.write(this, at, bounds);
  }

  /**
   * Bounds, and where the search begins: the field from the second bound to the last is cut into at least as many equal
   * parts as there are bounds, so that where they lie evenly only few are left in each.
   */
  numbers(at: number, bounds: readonly number[]): void {
    const { Layout } = this.core;
    const base = bounds[1] ?? 0xffff_ffff;
    const length = Math.max(0, bounds.at(-1)! - base);
    let shift = 0;
    while (length / 2 ** (shift + 1) >= bounds.length) shift++;
    const lastPart = Math.floor(length / 2 ** shift);
    const starts: number[] = [];
    for (let part = 0, place = 0; part <= lastPart; part++) {
      while (place + 1 < bounds.length && bounds[place + 1]! <= base + part * 2 ** shift) place++;
      starts.push(place);
    }
    starts.push(bounds.length - 1);
    this.view.setUint32(at + Layout.AxisBounds, this.words(bounds), true);
    this.view.setUint32(at + Layout.AxisBase, base, true);
    this.view.setUint32(at + Layout.AxisShift, shift, true);
    this.view.setUint32(at + Layout.AxisLastPart, lastPart, true);
    this.view.setUint32(at + Layout.AxisStarts, this.words(starts), true);
  }

  bigints(at: number, bounds: readonly bigint[]): void {
    const address = this.slab.place(bounds.length * 16, 16);
    bounds.forEach((bound, index) => {
      this.view.setBigUint64(address + index * 16, bound >> 64n, true);
      this.view.setBigUint64(address + index * 16 + 8, bound & LOW_HALF, true);
    });
    this.view.setUint32(at + this.core.Layout.AxisBounds, address, true);
  }

  private words(values: readonly number[]): number {
    const address = this.slab.place(values.length * 4, 4);
    new Uint32Array(this.view.buffer, address, values.length).set(values);
    return address;
  }
}
