/**
 * The classifier of an image (see assembly/classifier.ts): which flow is filed where, within bounds of time and memory.
 * Off the hot path.
 */
import { maskWord, WORDS } from './address-words.js';
import { AxisWriter } from './axis.js';
import { BlockSizes, blocksKey, type OneSide } from './block-sizes.js';
import { takesMoreThan } from './classifier-size.js';
import { file } from './filing.js';
import { BlockWriter, type Side } from './flow-blocks.js';
import { boxOf, type FlowBox } from './flow-box.js';
import type { ListedFlows } from './flow-records.js';
import { firstWord, type Networks } from './networks.js';
import { type LeafWriter, NO_FLOW, writePrefixIndex } from './prefix-index.js';
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

/**
 * @param freeBytes that `allocate` has in all
 * @returns address of the Classifier of these flows; null, and nothing was allocated, if it is known not to fit
 * @throws ImageError of `allocate`
 */
export function writeClassifier(
  core: Core,
  memory: WebAssembly.Memory,
  { networks, flows }: ListedFlows,
  allocate: (bytes: number) => number,
  freeBytes: number,
  limits: ClassifierLimits,
): number | null {
  const boxes = flows.map((flow, index) => boxOf(core, flow, index));
  const filing = file(networks, boxes, limits);
  if (takesMoreThan(freeBytes, core, networks, boxes, filing, limits)) return null;
  const slab = new Slab(allocate);
  const axes = new AxisWriter(core, memory, slab, networks);
  const leaves = new Leaves(core, memory, slab, axes, networks, boxes, limits);
  const { Layout } = core;
  const view = new DataView(memory.buffer);
  const at = slab.place(Layout.ClassifierBytes, 16);
  const word = (offset: number, value: number) => view.setUint32(at + offset, value, true);
  const place = { core, memory, slab, axes, networks, probes: limits.probes };
  word(Layout.ClassifierDestinations, writePrefixIndex(place, leaves.of('source'), filing.destinations));
  word(Layout.ClassifierSources, writePrefixIndex(place, leaves.of('destination'), filing.sources));
  word(Layout.ClassifierRest, filing.rest.length === 0 ? 0 : leaves.rest(filing.rest));
  return at;
}

/** Writes the flows of nodes: a short list behind the node, or blocks, which nodes with the same flows share. */
class Leaves {
  private readonly view: DataView;
  private readonly blocks: BlockWriter;
  private readonly shared = new Map<string, { address: number; count: number }>();
  private readonly sizes: BlockSizes;

  constructor(
    private readonly core: Core,
    memory: WebAssembly.Memory,
    private readonly slab: Slab,
    axes: AxisWriter,
    private readonly networks: Networks,
    private readonly boxes: readonly FlowBox[],
    limits: ClassifierLimits,
  ) {
    this.view = new DataView(memory.buffer);
    this.sizes = new BlockSizes(boxes, limits);
    this.blocks = new BlockWriter(core, memory, slab, axes, networks, (boxes, side) =>
      this.candidates(boxes, side),
    );
  }

  of(side: OneSide): LeafWriter {
    const { CandidateBytes } = this.core.Layout;
    return {
      bytesBehind: flows => (this.sizes.isListed(flows, side) ? flows.length * CandidateBytes : 0),
      write: (at, flows) => this.write(at, flows, side),
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

  private write(at: number, flows: Uint32Array, side: OneSide): void {
    const { Layout } = this.core;
    if (!this.sizes.isListed(flows, side)) {
      this.writeBlocks(
        at,
        Array.from(flows, flow => this.boxes[flow]!),
        side,
      );
      return;
    }
    this.view.setUint32(at + Layout.NodeBlocks, 0, true);
    this.view.setUint32(at + Layout.NodeCount, flows.length, true);
    flows.forEach((flow, index) => {
      this.candidate(at + Layout.NodeBytes + index * Layout.CandidateBytes, this.boxes[flow]!, side, true);
    });
  }

  private writeBlocks(at: number, boxes: readonly FlowBox[], side: Side): void {
    const { Layout } = this.core;
    const key = blocksKey(boxes, side);
    const { address, count } =
      this.shared.get(key) ?? this.blocks.write(boxes, side, this.sizes.of(boxes, side));
    this.shared.set(key, { address, count });
    this.view.setUint32(at + Layout.NodeBlocks, address, true);
    this.view.setUint32(at + Layout.NodeCount, count, true);
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
    const other = otherOf(this.networks, side === 'source' ? box.sources : box.destinations);
    const addresses = side === 'source' ? Check.Sources : Check.Destinations;
    const ports = box.destinationPorts.length > 1 || box.sourcePorts.length > 1 ? Check.Ports : 0;
    const conditions = withConditions ? ports | (other.exact ? 0 : addresses) : 0;
    const families = (other.ipv4 ? 1 : 0) | (other.ipv6 ? 1 << KindOf.Count : 0);
    this.view.setUint32(at + Layout.CandidateFlow, box.flow, true);
    this.view.setUint16(at + Layout.CandidateKinds, box.kinds * families, true);
    const checks = conditions | (box.byteMatches ? Check.Bytes : 0);
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

const ANY_OTHER: Other = { ipv4: true, ipv6: true, mask: 0, value: 0, exact: true };

function otherOf(networks: Networks, list: Uint32Array): Other {
  if (list.length === 0) return ANY_OTHER;
  const { firsts, behinds, lengths, ipv4First, ipv4Behind } = networks;
  const ipv4 = list.some(network => firsts[network]! < ipv4Behind && behinds[network]! > ipv4First);
  const ipv6 = list.some(network => firsts[network]! < ipv4First || behinds[network]! > ipv4Behind);
  const only = list[0]!;
  // One network of one family: its mask and value, as far as four bytes go.
  if (list.length > 1 || ipv4 === ipv6) return { ipv4, ipv6, mask: 0, value: 0, exact: false };
  const word = ipv4 ? WORDS - 1 : 0;
  return {
    ipv4,
    ipv6,
    mask: maskWord(lengths[only]!, word),
    value: firstWord(networks, only, word),
    exact: ipv4 || lengths[only]! <= 32,
  };
}
