/**
 * The classifier of an image (see assembly/classifier.ts): which flow is filed where, within bounds of time and memory.
 * Off the hot path.
 */
import { AxisWriter } from './axis.js';
import { BlockWriter, boundsOf, type Side, strideOf } from './flow-blocks.js';
import { boxOf, type FlowBox } from './flow-box.js';
import type { FlowRecord } from './flow-records.js';
import { ANY, LINE_LAST, MAPPED_FIRST, MAPPED_LAST, type Network } from './network.js';
import { type LeafWriter, NetworkMap, NO_FLOW, parentsOf, writePrefixIndex } from './prefix-index.js';
import { Slab } from './slab.js';
import type { Core } from './wasm.js';

/** Where the classifier changes its ways; tests set these low, so that few flows take all of them. */
export interface ClassifierLimits {
  /** Fewer flows are tried one by one: that is as fast, and costs no memory. */
  readonly leastFlows: number;
  /** A node with more flows has blocks; so has one whose flows have more bounds than this to be tried. */
  readonly listedFlows: number;
  readonly listedBounds: number;
  /** Prefixes of one index that may hold one another. */
  readonly nested: number;
  /** Slots of the hash table of whole addresses that one may take (at most the core's Limit.Probes) before it is searched for. */
  readonly probes: number;
  /** A destination that more flows share than this is left for a source that a `lessCrowded`th of them share. */
  readonly crowd: number;
  readonly lessCrowded: number;
  /** Since a flow is filed under each of its prefixes: bounds that may be filed for each that the flows have, and besides. */
  readonly copies: number;
  readonly freeCopies: number;
  /** Blocks have `largeBlock` flows (at most 4,096: one word says which of the words of a row are not 0) until their rows take `largeRowsBytes`, then `smallBlock`. */
  readonly largeBlock: number;
  readonly largeRowsBytes: number;
  readonly smallBlock: number;
}

export const CLASSIFIER_LIMITS: ClassifierLimits = {
  leastFlows: 5,
  listedFlows: 8,
  listedBounds: 64,
  nested: 8,
  probes: 8,
  crowd: 512,
  lessCrowded: 8,
  copies: 4,
  freeCopies: 65_536,
  largeBlock: 4096,
  largeRowsBytes: 64 * 1024 * 1024,
  smallBlock: 512,
};

/** @returns address of the Classifier of these flows. @throws ImageError of `allocate` */
export function writeClassifier(
  core: Core,
  memory: WebAssembly.Memory,
  records: readonly FlowRecord[],
  allocate: (bytes: number) => number,
  limits: ClassifierLimits,
): number {
  const slab = new Slab(allocate);
  const boxes = records.map((record, flow) => boxOf(core, record, flow));
  const filing = file(boxes, limits);
  const axes = new AxisWriter(core, memory, slab);
  const leaves = new Leaves(core, memory, slab, axes, limits);
  const { Layout } = core;
  const view = new DataView(memory.buffer);
  const at = slab.place(Layout.ClassifierBytes, 16);
  const word = (offset: number, value: number) => view.setUint32(at + offset, value, true);
  const index = (side: Side, filed: NetworkMap<FlowBox[]>) =>
    writePrefixIndex(core, memory, slab, axes, leaves.of(side), filed, limits.probes);
  word(Layout.ClassifierDestinations, index('source', filing.destinations));
  word(Layout.ClassifierSources, index('destination', filing.sources));
  word(Layout.ClassifierRest, filing.rest.length === 0 ? 0 : leaves.rest(filing.rest));
  return at;
}

interface Filing {
  readonly destinations: NetworkMap<FlowBox[]>;
  readonly sources: NetworkMap<FlowBox[]>;
  readonly rest: FlowBox[];
}

function orAny(networks: readonly Network[]): readonly Network[] {
  return networks.length === 0 ? [ANY] : networks;
}

/** Each flow under all of its destinations, or all of its sources, or with the rest. */
function file(boxes: readonly FlowBox[], limits: ClassifierLimits): Filing {
  const crowds = {
    destinations: crowdsOf(boxes.map(box => box.destinations)),
    sources: crowdsOf(boxes.map(box => box.sources)),
  };
  const plans = boxes.map(box => {
    const by = isBySource(box, crowds, limits) ? 'sources' : 'destinations';
    const networks = orAny(box[by]);
    const crowded = networks.filter(network => crowds[by].get(network).value > limits.listedFlows).length;
    const side = by === 'sources' ? 'destination' : 'source';
    return { box, by, networks, copies: networks.length + crowded * boundsOf(box, side) } as const;
  });

  const depths = {
    destinations: depthsOf(plans.filter(({ by }) => by === 'destinations').map(({ networks }) => networks)),
    sources: depthsOf(plans.filter(({ by }) => by === 'sources').map(({ networks }) => networks)),
  };
  // The cheapest first: whoever asks for much is the one to be left for the rest.
  let left =
    limits.freeCopies + limits.copies * boxes.reduce((sum, box) => sum + 1 + boundsOf(box, 'both'), 0);
  const admitted = new Set<FlowBox>();
  for (const { box, by, networks, copies } of plans.toSorted((one, other) => one.copies - other.copies)) {
    if (copies > left) break;
    if (networks.some(network => depths[by].get(network).value > limits.nested)) continue;
    left -= copies;
    admitted.add(box);
  }

  const filing: Filing = {
    destinations: new NetworkMap(() => []),
    sources: new NetworkMap(() => []),
    rest: [],
  };
  for (const { box, by, networks } of plans) {
    if (!admitted.has(box)) filing.rest.push(box);
    else for (const network of networks) filing[by].get(network).value.push(box);
  }
  return filing;
}

function isBySource(
  box: FlowBox,
  crowds: Record<'destinations' | 'sources', NetworkMap<number>>,
  { crowd: most, lessCrowded }: ClassifierLimits,
): boolean {
  if (box.sources.length === 0) return false;
  const crowd = (by: 'destinations' | 'sources') =>
    orAny(box[by]).reduce((largest, network) => Math.max(largest, crowds[by].get(network).value), 0);
  const destinations = crowd('destinations');
  return destinations > most && crowd('sources') * lessCrowded <= destinations;
}

/** How many flows have the network in their list. */
function crowdsOf(lists: readonly (readonly Network[])[]): NetworkMap<number> {
  const crowds = new NetworkMap(() => 0);
  for (const networks of lists) for (const network of orAny(networks)) crowds.get(network).value++;
  return crowds;
}

/** How many networks hold the network, itself included. */
function depthsOf(lists: readonly (readonly Network[])[]): NetworkMap<number> {
  const depths = new NetworkMap(() => 0);
  for (const networks of lists) for (const network of networks) depths.get(network);
  const entries = depths.ordered();
  parentsOf(entries.map(({ network }) => network)).forEach((parent, index) => {
    entries[index]!.value = 1 + (parent < 0 ? 0 : entries[parent]!.value);
  });
  return depths;
}

/** Writes the flows of nodes: a short list behind the node, or blocks, which nodes with the same flows share. */
class Leaves {
  private readonly view: DataView;
  private readonly blocks: BlockWriter;
  private readonly shared = new Map<string, { address: number; count: number }>();
  private largeRowsLeft: number;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly slab: Slab,
    axes: AxisWriter,
    private readonly limits: ClassifierLimits,
  ) {
    this.view = new DataView(memory.buffer);
    this.largeRowsLeft = limits.largeRowsBytes;
    this.blocks = new BlockWriter(core, memory, slab, axes, (boxes, side) => this.candidates(boxes, side));
  }

  of(side: Side): LeafWriter {
    const { CandidateBytes } = this.core.Layout;
    return {
      bytesBehind: boxes => (this.isListed(boxes, side) ? boxes.length * CandidateBytes : 0),
      write: (at, boxes) => this.write(at, boxes, side),
    };
  }

  /** The one node of flows that are filed under no prefix. */
  rest(boxes: readonly FlowBox[]): number {
    const { Layout } = this.core;
    const at = this.slab.place(Layout.NodeBytes, Layout.NodeBytes);
    new Uint8Array(this.view.buffer, at, Layout.NodeBytes).fill(0);
    this.view.setUint32(at + Layout.NodeBest, boxes[0]?.flow ?? NO_FLOW, true);
    this.writeBlocks(at, boxes, 'both');
    return at;
  }

  private write(at: number, boxes: readonly FlowBox[], side: Side): void {
    const { Layout } = this.core;
    if (!this.isListed(boxes, side)) {
      this.writeBlocks(at, boxes, side);
      return;
    }
    this.view.setUint32(at + Layout.NodeBlocks, 0, true);
    this.view.setUint32(at + Layout.NodeCount, boxes.length, true);
    boxes.forEach((box, index) => {
      this.candidate(at + Layout.NodeBytes + index * Layout.CandidateBytes, box, side, true);
    });
  }

  private writeBlocks(at: number, boxes: readonly FlowBox[], side: Side): void {
    const { Layout } = this.core;
    const key = `${side} ${boxes.map(({ flow }) => flow).join()}`;
    const { address, count } =
      this.shared.get(key) ?? this.blocks.write(boxes, side, this.sizeOf(boxes, side));
    this.shared.set(key, { address, count });
    this.view.setUint32(at + Layout.NodeBlocks, address, true);
    this.view.setUint32(at + Layout.NodeCount, count, true);
  }

  /** Flows of a block. */
  private sizeOf(boxes: readonly FlowBox[], side: Side): number {
    const large = Math.min(boxes.length, this.limits.largeBlock);
    const bytes = boxes.reduce((sum, box) => sum + boundsOf(box, side), 0) * strideOf(large);
    if (large <= this.limits.smallBlock) return large;
    if (bytes > this.largeRowsLeft) return this.limits.smallBlock;
    this.largeRowsLeft -= bytes;
    return large;
  }

  /** Candidate[] of which the rows have said all but what statements about bytes say. */
  private candidates(boxes: readonly FlowBox[], side: Side): number {
    const { CandidateBytes } = this.core.Layout;
    const address = this.slab.place(boxes.length * CandidateBytes, 8);
    boxes.forEach((box, index) => {
      this.candidate(address + index * CandidateBytes, box, side, false);
    });
    return address;
  }

  private candidate(at: number, box: FlowBox, side: Side, withConditions: boolean): void {
    const { Layout, Check, KindOf } = this.core;
    const other = otherOf(side === 'source' ? box.sources : box.destinations);
    const more = !other.exact || box.destinationPorts.length > 1 || box.sourcePorts.length > 1;
    const families = (other.ipv4 ? 1 : 0) | (other.ipv6 ? 1 << KindOf.Count : 0);
    this.view.setUint32(at + Layout.CandidateFlow, box.flow, true);
    this.view.setUint16(at + Layout.CandidateKinds, box.kinds * families, true);
    const checks = (withConditions && more ? Check.Conditions : 0) | (box.byteMatches ? Check.Bytes : 0);
    this.view.setUint16(at + Layout.CandidateChecks, checks, true);
    this.view.setUint32(at + Layout.CandidateOtherMask, other.mask, false);
    this.view.setUint32(at + Layout.CandidateOtherValue, other.value, false);
    for (const [place, ranges] of [
      [at + Layout.CandidateDestinationPort, box.destinationPorts],
      [at + Layout.CandidateSourcePort, box.sourcePorts],
    ] as const) {
      const first = ranges[0]?.first ?? 0;
      this.view.setUint16(place, first, true);
      this.view.setUint16(place + 2, (ranges.at(-1)?.last ?? 0xffff) - first, true);
    }
  }

  private isListed(boxes: readonly FlowBox[], side: Side): boolean {
    if (boxes.length > this.limits.listedFlows) return false;
    return boxes.reduce((sum, box) => sum + boundsOf(box, side), 0) <= this.limits.listedBounds;
  }
}

/** What a candidate can say of the networks of its flow. */
interface Other {
  /** Whether any of them has addresses of IPv4; others. */
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** Of an IPv4 address, or of the first four bytes of another; host order. */
  readonly mask: number;
  readonly value: number;
  /** Nothing more is to be asked. */
  readonly exact: boolean;
}

function otherOf(networks: readonly Network[]): Other {
  if (networks.length === 0) return { ipv4: true, ipv6: true, mask: 0, value: 0, exact: true };
  const within = networks.map(({ first, last }) => first >= MAPPED_FIRST && last <= MAPPED_LAST);
  const ipv4 = networks.some(({ first, last }) => first <= MAPPED_LAST && last >= MAPPED_FIRST);
  const ipv6 = within.includes(false);
  const [only] = networks;
  // One network of one family: its mask and value, as far as four bytes go.
  if (networks.length > 1 || only === undefined || ipv4 === ipv6)
    return { ipv4, ipv6, mask: 0, value: 0, exact: false };
  const shift = ipv4 ? 0n : 96n;
  const word = (number: bigint) => Number((number >> shift) & 0xffff_ffffn);
  return {
    ipv4,
    ipv6,
    mask: word(LINE_LAST ^ only.first ^ only.last),
    value: word(only.first),
    exact: ipv4 || only.length <= 32,
  };
}
