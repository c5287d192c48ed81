/** Flows by prefixes: PrefixIndex of the core, from an address to the nodes of the prefixes that hold it, longest first. */
import { WORDS } from './address-words.js';
import type { AxisWriter } from './axis.js';
import type { Lists } from './lists.js';
import { firstWord, isWhole, type Networks, networksWhere, parentsOf } from './networks.js';
import type { Slab } from './slab.js';
import type { Core } from './wasm.js';

/** "No flow" of the core. */
export const NO_FLOW = 0xffff_ffff;

/** Writes a leaf into the node at `at`: its candidates behind it, or blocks elsewhere. */
export interface LeafWriter {
  /** Bytes that stand behind the node. @param flows their indexes, ascending */
  bytesBehind(flows: Uint32Array): number;
  write(at: number, flows: Uint32Array): void;
}

/** Where the index is written, and of what. */
export interface IndexPlace {
  readonly core: Core;
  readonly memory: WebAssembly.Memory;
  readonly slab: Slab;
  readonly axes: AxisWriter;
  readonly networks: Networks;
  /** Slots of the hash table that one address may take before it is searched for. */
  readonly probes: number;
}

/** Networks that flows are filed under, ascending, and the address of the node of each. */
interface Nodes {
  readonly filed: Uint32Array;
  readonly addresses: Uint32Array;
}

/** @param flows by network; @returns address of the PrefixIndex of the flows under their networks */
export function writePrefixIndex(place: IndexPlace, leaves: LeafWriter, flows: Lists): number {
  const { core, memory, slab, networks } = place;
  const { Layout } = core;
  const view = new DataView(memory.buffer);
  const filed = networksWhere(networks, network => flows.lengthOf(network) > 0);
  const parents = parentsOf(networks, filed);
  const bests = new Uint32Array(filed.length);
  const addresses = new Uint32Array(filed.length);
  let best = NO_FLOW;
  filed.forEach((network, index) => {
    const own = flows.of(network);
    const parent = parents[index]!;
    const address = slab.place(Layout.NodeBytes + leaves.bytesBehind(own), Layout.NodeBytes);
    bests[index] = Math.min(own[0]!, parent < 0 ? NO_FLOW : bests[parent]!);
    best = Math.min(best, bests[index]!);
    addresses[index] = address;
    for (let word = 0; word < WORDS; word++)
      view.setUint32(address + Layout.NodeAddress + 4 * word, firstWord(networks, network, word), false);
    view.setUint32(address + Layout.NodeBest, bests[index]!, true);
    view.setUint32(address + Layout.NodeParent, parent < 0 ? 0 : addresses[parent]!, true);
    leaves.write(address, own);
  });

  const at = slab.place(Layout.IndexBytes, 16);
  view.setUint32(at + Layout.IndexBest, best, true);
  const searched = writeSlots(place, view, at, { filed, addresses });
  writeAxes(place, view, at, changesOf(networks, searched));
  return at;
}

/** The hash table of whole addresses. @returns the nodes that are not in it: they are searched for among the bounds */
function writeSlots(
  { core, slab, networks, probes }: IndexPlace,
  view: DataView,
  at: number,
  { filed, addresses }: Nodes,
): Nodes {
  const { Layout } = core;
  const whole = filed.reduce((sum, network) => sum + (isWhole(networks, network) ? 1 : 0), 0);
  // At most a third full, so that most addresses take the first slot.
  const count = whole === 0 ? 1 : 2 ** Math.ceil(Math.log2(3 * whole));
  const slots = new Uint32Array(count);
  const isSearched = filed.map((network, index) => {
    if (!isWhole(networks, network)) return 1;
    const hash = addressHash(view, addresses[index]! + Layout.NodeAddress);
    let probe = 0;
    while (probe < probes && slots[(hash + probe) & (count - 1)] !== 0) probe++;
    if (probe === probes) return 1;
    slots[(hash + probe) & (count - 1)] = addresses[index]!;
    return 0;
  });
  const address = slab.place(4 * count, 64);
  new Uint32Array(view.buffer, address, count).set(slots);
  view.setUint32(at + Layout.IndexSlots, address, true);
  view.setUint32(at + Layout.IndexSlotMask, count - 1, true);
  return {
    filed: filed.filter((_, index) => isSearched[index] === 1),
    addresses: addresses.filter((_, index) => isSearched[index] === 1),
  };
}

/** As in assembly/classifier.ts. @param at of the 16 bytes of an address */
function addressHash(view: DataView, at: number): number {
  const times = (offset: number, factor: number) => Math.imul(view.getUint32(at + offset, true), factor);
  const sum = times(0, 0x9e3779b1) + times(4, 0x85ebca77) + times(8, 0xc2b2ae3d) + times(12, 0x27d4eb2f);
  const hash = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Places, ascending, and the node from there on; 0: none. */
interface Changes {
  readonly places: Uint32Array;
  readonly nodes: Uint32Array;
}

/** Where on the line the node of the longest prefix changes, from its begin on. */
function changesOf({ firsts, behinds, placeCount }: Networks, { filed, addresses }: Nodes): Changes {
  const places = new Uint32Array(2 * filed.length + 1);
  const nodes = new Uint32Array(2 * filed.length + 1);
  let count = 1;
  const change = (place: number, node: number) => {
    if (places[count - 1] !== place) places[count++] = place;
    nodes[count - 1] = node;
  };
  const open: number[] = [];
  const closeUntil = (place: number) => {
    while (open.length > 0 && behinds[filed[open.at(-1)!]!]! <= place) {
      const behind = behinds[filed[open.pop()!]!]!;
      if (behind < placeCount) change(behind, open.length === 0 ? 0 : addresses[open.at(-1)!]!);
    }
  };
  filed.forEach((network, index) => {
    closeUntil(firsts[network]!);
    change(firsts[network]!, addresses[index]!);
    open.push(index);
  });
  closeUntil(placeCount);
  return { places: places.subarray(0, count), nodes: nodes.subarray(0, count) };
}

/** IPv4 has an axis of its own; that of the others has IPv4 out of it. */
function writeAxes(
  { core, memory, slab, axes, networks }: IndexPlace,
  view: DataView,
  at: number,
  { places, nodes }: Changes,
): void {
  const { Layout } = core;
  const { ipv4First, ipv4Behind } = networks;
  const firstAbove = (place: number) => {
    const index = places.findIndex(each => each > place);
    return index < 0 ? places.length : index;
  };
  // Each axis begins with what holds where it begins.
  const within = firstAbove(ipv4First);
  const behind = firstAbove(ipv4Behind);
  const before = places[within - 1] === ipv4First ? within - 1 : within;
  const upTo = places[behind - 1] === ipv4Behind ? behind - 1 : behind;
  const joined = (parts: readonly Uint32Array[]) => {
    const all = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let length = 0;
    for (const part of parts) {
      all.set(part, length);
      length += part.length;
    }
    return all;
  };
  const one = (value: number) => Uint32Array.of(value);
  const places4 = joined([one(ipv4First), places.subarray(within, upTo)]);
  const nodes4 = joined([one(nodes[within - 1]!), nodes.subarray(within, upTo)]);
  const places6 = joined([places.subarray(0, before), one(ipv4Behind), places.subarray(behind)]);
  const nodes6 = joined([nodes.subarray(0, before), one(nodes[behind - 1]!), nodes.subarray(behind)]);

  const nodesAt = (each: Uint32Array) => {
    const address = slab.place(4 * each.length, 16);
    new Uint32Array(memory.buffer, address, each.length).set(each);
    return address;
  };
  const axis4 = slab.place(Layout.AxisBytes, 8);
  const axis6 = slab.place(Layout.AxisBytes, 8);
  axes.ipv4(axis4, places4, nodesAt(nodes4));
  axes.ipv6(axis6, places6, nodesAt(nodes6));
  view.setUint32(at + Layout.IndexAxis4, axis4, true);
  view.setUint32(at + Layout.IndexAxis6, axis6, true);
}
