/** Flows by prefixes: PrefixIndex of the core, from an address to the nodes of the prefixes that hold it, longest first. */
import { type AxisWriter, IPV4, IPV6 } from './axis.js';
import type { FlowBox } from './flow-box.js';
import {
  BITS,
  byPlace,
  LINE_LAST,
  LOW_HALF,
  MAPPED_FIRST,
  MAPPED_LAST,
  type Network,
  placeKey,
} from './network.js';
import type { Slab } from './slab.js';
import type { Core } from './wasm.js';

/** "No flow" of the core. */
export const NO_FLOW = 0xffff_ffff;

/** Networks, each with what is kept for it. */
export class NetworkMap<Value> {
  private readonly lengths = new Map<
    number,
    Map<number | string, { readonly network: Network; value: Value }>
  >();

  constructor(private readonly initial: () => Value) {}

  get(network: Network): { readonly network: Network; value: Value } {
    let firsts = this.lengths.get(network.length);
    if (firsts === undefined) {
      firsts = new Map();
      this.lengths.set(network.length, firsts);
    }
    const key = placeKey(network.first);
    let entry = firsts.get(key);
    if (entry === undefined) {
      entry = { network, value: this.initial() };
      firsts.set(key, entry);
    }
    return entry;
  }

  /** Ascending, and what holds another before it. */
  ordered(): { readonly network: Network; value: Value }[] {
    return [...this.lengths.values()]
      .flatMap(firsts => [...firsts.values()])
      .sort((one, other) => byPlace(one.network, other.network));
  }
}

/** For each of the networks, ascending, the index of the next shorter one that holds it, or -1. */
export function parentsOf(networks: readonly Network[]): number[] {
  const open: number[] = [];
  return networks.map((network, index) => {
    while (open.length > 0 && networks[open.at(-1)!]!.last < network.first) open.pop();
    const parent = open.at(-1) ?? -1;
    open.push(index);
    return parent;
  });
}

/** Writes a leaf into the node at `at`: its candidates behind it, or blocks elsewhere. */
export interface LeafWriter {
  /** Bytes that stand behind the node. */
  bytesBehind(boxes: readonly FlowBox[]): number;
  write(at: number, boxes: readonly FlowBox[]): void;
}

interface Node {
  readonly network: Network;
  readonly address: number;
}

/** @returns address of the PrefixIndex of the flows under their networks */
export function writePrefixIndex(
  core: Core,
  memory: WebAssembly.Memory,
  slab: Slab,
  axes: AxisWriter,
  leaves: LeafWriter,
  filed: NetworkMap<FlowBox[]>,
  probes: number,
): number {
  const { Layout } = core;
  const view = new DataView(memory.buffer);
  const entries = filed.ordered();
  const parents = parentsOf(entries.map(({ network }) => network));
  const bests: number[] = [];
  const nodes: Node[] = [];
  entries.forEach(({ network, value: boxes }, index) => {
    const parent = parents[index]!;
    const address = slab.place(Layout.NodeBytes + leaves.bytesBehind(boxes), Layout.NodeBytes);
    bests.push(Math.min(boxes[0]!.flow, parent < 0 ? NO_FLOW : bests[parent]!));
    nodes.push({ network, address });
    view.setBigUint64(address + Layout.NodeAddress, network.first >> 64n, false);
    view.setBigUint64(address + Layout.NodeAddress + 8, network.first & LOW_HALF, false);
    view.setUint32(address + Layout.NodeBest, bests[index]!, true);
    view.setUint32(address + Layout.NodeParent, parent < 0 ? 0 : nodes[parent]!.address, true);
    leaves.write(address, boxes);
  });

  const at = slab.place(Layout.IndexBytes, 16);
  const word = (offset: number, value: number) => view.setUint32(at + offset, value, true);
  word(
    Layout.IndexBest,
    bests.reduce((least, best) => Math.min(least, best), NO_FLOW),
  );
  const searched = writeSlots(core, view, slab, nodes, probes, word);
  const changes = changesOf(searched);
  const upTo = (bound: bigint) => changes.findLast(({ first }) => first <= bound)!.node;

  const inMapped = changes.filter(({ first }) => first > MAPPED_FIRST && first <= MAPPED_LAST);
  const changes4 = [{ first: MAPPED_FIRST, node: upTo(MAPPED_FIRST) }, ...inMapped];
  const outside = changes.filter(({ first }) => first < MAPPED_FIRST || first > MAPPED_LAST + 1n);
  const behind = { first: MAPPED_LAST + 1n, node: upTo(MAPPED_LAST + 1n) };
  const changes6 = [...outside, behind].sort((one, other) => (one.first < other.first ? -1 : 1));

  const nodesOf = (each: readonly { readonly node: number }[]) => {
    const address = slab.place(4 * each.length, 16);
    new Uint32Array(memory.buffer, address, each.length).set(each.map(({ node }) => node));
    return address;
  };
  const axis4 = slab.place(Layout.AxisBytes, 8);
  const axis6 = slab.place(Layout.AxisBytes, 8);
  axes.write(
    axis4,
    IPV4,
    changes4.map(({ first }) => Number(first & 0xffff_ffffn)),
    nodesOf(changes4),
  );
  axes.write(
    axis6,
    IPV6,
    changes6.map(({ first }) => first),
    nodesOf(changes6),
  );
  word(Layout.IndexAxis4, axis4);
  word(Layout.IndexAxis6, axis6);
  return at;
}

/** The hash table of whole addresses. @returns the nodes that are not in it: they are searched for among the bounds */
function writeSlots(
  core: Core,
  view: DataView,
  slab: Slab,
  nodes: readonly Node[],
  probes: number,
  word: (offset: number, value: number) => void,
): Node[] {
  const { Layout } = core;
  const whole = nodes.filter(({ network }) => network.length === BITS);
  // At most a third full, so that most addresses take the first slot.
  const count = whole.length === 0 ? 1 : 2 ** Math.ceil(Math.log2(3 * whole.length));
  const slots = new Uint32Array(count);
  const left = new Set<Node>();
  for (const node of whole) {
    const hash = addressHash(view, node.address + Layout.NodeAddress);
    let probe = 0;
    while (probe < probes && slots[(hash + probe) & (count - 1)] !== 0) probe++;
    if (probe === probes) left.add(node);
    else slots[(hash + probe) & (count - 1)] = node.address;
  }
  const address = slab.place(4 * count, 64);
  new Uint32Array(view.buffer, address, count).set(slots);
  word(Layout.IndexSlots, address);
  word(Layout.IndexSlotMask, count - 1);
  return nodes.filter(node => node.network.length < BITS || left.has(node));
}

/** As in assembly/classifier.ts. @param at of the 16 bytes of an address */
function addressHash(view: DataView, at: number): number {
  const times = (offset: number, factor: number) => Math.imul(view.getUint32(at + offset, true), factor);
  const sum = times(0, 0x9e3779b1) + times(4, 0x85ebca77) + times(8, 0xc2b2ae3d) + times(12, 0x27d4eb2f);
  const hash = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Where on the line the node of the longest prefix changes, ascending from 0; node 0: none. */
function changesOf(nodes: readonly Node[]): { first: bigint; node: number }[] {
  const changes = [{ first: 0n, node: 0 }];
  const change = (first: bigint, node: number) => {
    const last = changes.at(-1)!;
    if (last.first === first) last.node = node;
    else changes.push({ first, node });
  };
  const open: Node[] = [];
  const closeBefore = (bound: bigint) => {
    while (open.length > 0 && open.at(-1)!.network.last < bound) {
      const { last } = open.pop()!.network;
      if (last < LINE_LAST) change(last + 1n, open.at(-1)?.address ?? 0);
    }
  };
  for (const node of nodes) {
    closeBefore(node.network.first);
    change(node.network.first, node.address);
    open.push(node);
  }
  closeBefore(LINE_LAST + 1n);
  return changes;
}
