/**
 * Flows as bits of rows: Block[] of the core. For each field that a flow of the block asks about, the bounds at which the
 * set of flows that allow it changes, and for each bound the row of that set.
 */
import type { PortRange } from '../types/config.js';
import type { AxisWriter } from './axis.js';
import type { FlowBox } from './flow-box.js';
import type { Networks } from './networks.js';
import type { Slab } from './slab.js';
import type { Core } from './wasm.js';

/** Which of a flow's addresses are still to be asked about. */
export type Side = 'destination' | 'source' | 'both';

/** Part of a field: from `first` to before `behind`. */
interface Span {
  readonly first: number;
  readonly behind: number;
}

/** A field as an axis has it. */
interface Field {
  readonly first: number;
  readonly behind: number;
  readonly write: (at: number, bounds: Uint32Array, rows: number) => void;
}

/** A block has at most so many flows, so a bound and a flow make one number. */
const MOST_FLOWS = 4096;

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
    private readonly networks: Networks,
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
    const ports: Field = { first: 0, behind: 0x10000, write: (...each) => this.axes.numbers(...each) };
    this.axis(
      axis(AxisOf.DestinationPort),
      ports,
      stride,
      boxes.map(box => portSpans(box.destinationPorts)),
    );
    this.axis(
      axis(AxisOf.SourcePort),
      ports,
      stride,
      boxes.map(box => portSpans(box.sourcePorts)),
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

  private addresses(at4: number, at6: number, stride: number, lists: readonly Uint32Array[]): void {
    const { ipv4First, ipv4Behind, placeCount } = this.networks;
    const spans = lists.map(list => (list.length === 0 ? null : this.addressSpans(list)));
    const ipv4: Field = {
      first: ipv4First,
      behind: ipv4Behind,
      write: (...each) => this.axes.ipv4(...each),
    };
    const ipv6: Field = { first: 0, behind: placeCount, write: (...each) => this.axes.ipv6(...each) };
    const meetsIpv4 = ({ first, behind }: Span) => first < ipv4Behind && behind > ipv4First;
    // An address of IPv4 is never looked for on the other axis.
    const leavesIpv4 = ({ first, behind }: Span) => first < ipv4First || behind > ipv4Behind;
    const only = (is: (span: Span) => boolean) => spans.map(each => each?.filter(is) ?? null);
    this.axis(at4, ipv4, stride, only(meetsIpv4));
    this.axis(at6, ipv6, stride, only(leavesIpv4));
  }

  private addressSpans(list: Uint32Array): Span[] {
    const { firsts, behinds } = this.networks;
    return Array.from(list, network => ({ first: firsts[network]!, behind: behinds[network]! }));
  }

  /** @param spans by flow, disjoint, cut to the field; null: it takes all */
  private axis(at: number, field: Field, stride: number, spans: readonly (readonly Span[] | null)[]): void {
    if (spans.every(each => each === null)) return;
    const changes = this.changes(field, spans);
    const bounds = new Uint32Array(changes.length + 1);
    let count = 0;
    bounds[count++] = field.first;
    for (const change of changes) {
      const bound = Math.floor(change / MOST_FLOWS);
      if (bound !== bounds[count - 1]) bounds[count++] = bound;
    }
    const rowsAt = this.slab.place(count * stride, WORD_BYTES);
    const row = new Row(stride);
    for (let index = 0, next = 0; index < count; index++) {
      for (; next < changes.length && Math.floor(changes[next]! / MOST_FLOWS) === bounds[index]; next++)
        row.toggle(changes[next]! % MOST_FLOWS);
      this.words.set(row.words, (rowsAt + index * stride) / 4);
    }
    field.write(at, bounds.subarray(0, count), rowsAt);
  }

  /** Bounds at which flows begin or end to allow the field, ascending, each with its flow: bound x MOST_FLOWS + flow. */
  private changes(field: Field, spans: readonly (readonly Span[] | null)[]): Float64Array {
    const changes: number[] = [];
    spans.forEach((each, flow) => {
      for (const { first, behind } of each ?? [field]) {
        changes.push(Math.max(first, field.first) * MOST_FLOWS + flow);
        if (behind < field.behind) changes.push(behind * MOST_FLOWS + flow);
      }
    });
    return Float64Array.from(changes).sort();
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

function portSpans(ranges: readonly PortRange[]): Span[] | null {
  return ranges.length === 0 ? null : ranges.map(({ first, last }) => ({ first, behind: last + 1 }));
}
