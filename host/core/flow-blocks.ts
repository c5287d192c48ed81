/**
 * Flows as bits of rows: Block[] of the core. For each field that a flow of the block asks about, the bounds at which the
 * set of flows that allow it changes, and for each bound the row of that set.
 */
import type { PortRange } from '../types/config.js';
import { type AxisWriter, IPV4, IPV6, type Line, PORTS } from './axis.js';
import type { FlowBox } from './flow-box.js';
import { MAPPED_FIRST, MAPPED_LAST, type Network } from './network.js';
import type { Slab } from './slab.js';
import type { Core } from './wasm.js';

/** Which of a flow's addresses are still to be asked about. */
export type Side = 'destination' | 'source' | 'both';

/** Part of a line, both ends included. */
interface Span<Value> {
  readonly first: Value;
  readonly last: Value;
}

/** A row is made of words of 64 bits. */
const WORD_BYTES = 8;

/** Bytes of a row of `flows` bits, with the word in front of it. */
export function strideOf(flows: number): number {
  return WORD_BYTES * (1 + Math.ceil(flows / 64));
}

/** How many bounds the flow can add to its block's fields. */
export function boundsOf(box: FlowBox, side: Side): number {
  const destinations = side === 'source' ? 0 : box.destinations.length;
  const sources = side === 'destination' ? 0 : box.sources.length;
  return 2 * (destinations + sources + box.destinationPorts.length + box.sourcePorts.length);
}

export class BlockWriter {
  private readonly view: DataView;
  private readonly words: Uint32Array;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly slab: Slab,
    private readonly axes: AxisWriter,
    private readonly writeCandidates: (boxes: readonly FlowBox[], side: Side) => number,
  ) {
    this.view = new DataView(memory.buffer);
    this.words = new Uint32Array(memory.buffer);
  }

  /** Block[] of the flows, best first, `size` in each. */
  write(boxes: readonly FlowBox[], side: Side, size: number): { address: number; count: number } {
    const { BlockBytes } = this.core.Layout;
    const count = Math.ceil(boxes.length / size);
    const address = this.slab.place(count * BlockBytes, WORD_BYTES);
    for (let index = 0; index < count; index++)
      this.block(address + index * BlockBytes, boxes.slice(index * size, (index + 1) * size), side);
    return { address, count };
  }

  private block(at: number, boxes: readonly FlowBox[], side: Side): void {
    const { Layout, AxisOf, KindOf } = this.core;
    const stride = strideOf(boxes.length);
    const axes = this.slab.place((AxisOf.Source6 + 1) * Layout.AxisBytes, WORD_BYTES);
    new Uint8Array(this.view.buffer, axes, (AxisOf.Source6 + 1) * Layout.AxisBytes).fill(0);
    const axis = (which: number) => axes + which * Layout.AxisBytes;
    this.axis(
      axis(AxisOf.DestinationPort),
      PORTS,
      stride,
      boxes.map(box => portsOf(box.destinationPorts)),
    );
    this.axis(
      axis(AxisOf.SourcePort),
      PORTS,
      stride,
      boxes.map(box => portsOf(box.sourcePorts)),
    );
    if (side !== 'source')
      this.addresses(
        axis(AxisOf.Destination4),
        axis(AxisOf.Destination6),
        stride,
        boxes.map(box => box.destinations),
      );
    if (side !== 'destination')
      this.addresses(
        axis(AxisOf.Source4),
        axis(AxisOf.Source6),
        stride,
        boxes.map(box => box.sources),
      );

    const kinds = this.slab.place((KindOf.Ping + 1) * stride, WORD_BYTES);
    for (let kind = 0; kind <= KindOf.Ping; kind++) {
      const row = new Row(stride);
      for (const [bit, box] of boxes.entries()) if (((box.kinds >> kind) & 1) === 1) row.toggle(bit);
      this.words.set(row.words, (kinds + kind * stride) / 4);
    }
    this.view.setUint32(at + Layout.BlockBest, boxes[0]!.flow, true);
    this.view.setUint32(at + Layout.BlockStride, stride, true);
    this.view.setUint32(at + Layout.BlockCandidates, this.writeCandidates(boxes, side), true);
    this.view.setUint32(at + Layout.BlockKinds, kinds, true);
    this.view.setUint32(at + Layout.BlockAxes, axes, true);
  }

  private addresses(
    at4: number,
    at6: number,
    stride: number,
    networks: readonly (readonly Network[])[],
  ): void {
    this.axis(
      at4,
      IPV4,
      stride,
      networks.map(each => (each.length === 0 ? null : each.flatMap(ipv4Span))),
    );
    this.axis(
      at6,
      IPV6,
      stride,
      networks.map(each => (each.length === 0 ? null : each.filter(notMapped))),
    );
  }

  /** @param spans by flow, disjoint; null: it takes all */
  private axis<Value>(
    at: number,
    line: Line<Value>,
    stride: number,
    spans: readonly (readonly Span<Value>[] | null)[],
  ): void {
    if (spans.every(each => each === null)) return;
    const toggles = new Map<number | string, { readonly bound: Value; readonly bits: number[] }>();
    toggles.set(line.key(line.zero), { bound: line.zero, bits: [] });
    const toggle = (bound: Value, bit: number) => {
      const key = line.key(bound);
      const there = toggles.get(key);
      if (there === undefined) toggles.set(key, { bound, bits: [bit] });
      else there.bits.push(bit);
    };
    spans.forEach((each, bit) => {
      if (each === null) toggle(line.zero, bit);
      else
        for (const { first, last } of each) {
          toggle(first, bit);
          if (last < line.last) toggle(line.next(last), bit);
        }
    });
    const changes = [...toggles.values()].sort((one, other) => (one.bound < other.bound ? -1 : 1));
    const rowsAt = this.slab.place(changes.length * stride, WORD_BYTES);
    const row = new Row(stride);
    changes.forEach(({ bits }, index) => {
      for (const bit of bits) row.toggle(bit);
      this.words.set(row.words, (rowsAt + index * stride) / 4);
    });
    this.axes.write(
      at,
      line,
      changes.map(({ bound }) => bound),
      rowsAt,
    );
  }
}

/** The bits of one row and, in front, one for each word of 64 that is not 0. */
class Row {
  readonly words: Uint32Array;

  constructor(stride: number) {
    this.words = new Uint32Array(stride / 4);
  }

  toggle(bit: number): void {
    const { words } = this;
    const half = 2 + (bit >>> 5);
    words[half]! ^= 1 << (bit & 31);
    const word = bit >>> 6;
    const mark = 1 << (word & 31);
    if ((words[half & ~1]! | words[half | 1]!) !== 0) words[word >>> 5]! |= mark;
    else words[word >>> 5]! &= ~mark;
  }
}

function portsOf(ranges: readonly PortRange[]): readonly PortRange[] | null {
  return ranges.length === 0 ? null : ranges;
}

/** The IPv4 addresses of a network. */
function ipv4Span({ first, last }: Network): Span<number>[] {
  if (last < MAPPED_FIRST || first > MAPPED_LAST) return [];
  return [
    {
      first: first < MAPPED_FIRST ? 0 : Number(first & 0xffff_ffffn),
      last: last > MAPPED_LAST ? IPV4.last : Number(last & 0xffff_ffffn),
    },
  ];
}

/** An address of IPv4 is never looked for on the other line. */
function notMapped({ first, last }: Network): boolean {
  return first < MAPPED_FIRST || last > MAPPED_LAST;
}
