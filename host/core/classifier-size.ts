/** What a classifier takes at least, counted before any of it is written: nodes, candidates, and the rows of blocks with their bounds. */
import type { PortRange } from '../types/config.js';
import { BlockSizes, blocksKey, type OneSide } from './block-sizes.js';
import type { ClassifierLimits } from './classifier.js';
import type { Filing } from './filing.js';
import { boundsOf, type Side, strideOf } from './flow-blocks.js';
import type { FlowBox } from './flow-box.js';
import type { Lists } from './lists.js';
import type { Networks } from './networks.js';
import type { Core } from './wasm.js';

/** Of a bound of ports or IPv4, and of another address. */
const BOUND_BYTES = 4;
const BOUND6_BYTES = 16;
const PORTS_BEHIND = 0x10000;
/** Of a block: ports, and addresses of two families, of both ends. */
const MOST_AXES = 6;

/** Whether the classifier takes more than `bytes`; what it takes beside what is counted is a small part. */
export function takesMoreThan(
  bytes: number,
  core: Core,
  networks: Networks,
  boxes: readonly FlowBox[],
  filing: Filing,
  limits: ClassifierLimits,
): boolean {
  return new Count(bytes, core, networks, boxes, limits).exceeds(filing);
}

class Count {
  private readonly sizes: BlockSizes;
  private readonly counted = new Set<string>();
  private readonly ports = new Distinct(PORTS_BEHIND);
  private readonly places: Distinct;

  constructor(
    private left: number,
    private readonly core: Core,
    private readonly networks: Networks,
    private readonly boxes: readonly FlowBox[],
    private readonly limits: ClassifierLimits,
  ) {
    this.sizes = new BlockSizes(boxes, limits);
    this.places = new Distinct(networks.placeCount);
  }

  /** In the order of writing, which is that of `BlockSizes`. */
  exceeds(filing: Filing): boolean {
    if (this.most(filing) <= this.left) return false;
    const { destinations, sources, rest } = filing;
    if (this.nodes(destinations, 'source') || this.nodes(sources, 'destination')) return true;
    if (rest.length > 0) this.blocks(rest, 'both');
    return this.left < 0;
  }

  /** What cannot be exceeded, at a glance: most configurations are far below it. */
  private most({ destinations, sources, rest }: Filing): number {
    const { NodeBytes, CandidateBytes } = this.core.Layout;
    const { networks, limits } = this;
    const rowBytes = strideOf(limits.smallBlock) + BOUND6_BYTES;
    // Each axis of a block has one bound besides, and a block one flow at least.
    const bytesOf = (flows: number, bounds: number) =>
      flows * (NodeBytes + CandidateBytes + MOST_AXES * rowBytes) + bounds * rowBytes;
    const filed = (lists: Lists, side: OneSide) => {
      const bounds = this.sizes.bounds[side];
      let [flows, sum] = [0, 0];
      for (let network = 0; network < networks.count; network++) {
        if (lists.lengthOf(network) === 0) continue;
        const own = lists.of(network);
        flows += own.length;
        for (let index = 0; index < own.length; index++) sum += bounds[own[index]!]!;
      }
      return bytesOf(flows, sum);
    };
    const bounds = rest.reduce((sum, box) => sum + boundsOf(box, 'both'), 0);
    return (
      limits.largeRowsBytes +
      filed(destinations, 'source') +
      filed(sources, 'destination') +
      bytesOf(rest.length, bounds)
    );
  }

  private nodes(lists: Lists, side: OneSide): boolean {
    const { NodeBytes, CandidateBytes } = this.core.Layout;
    for (let network = 0; network < this.networks.count && this.left >= 0; network++) {
      if (lists.lengthOf(network) === 0) continue;
      const flows = lists.of(network);
      this.left -= NodeBytes;
      if (this.sizes.isListed(flows, side)) this.left -= flows.length * CandidateBytes;
      else
        this.blocks(
          Array.from(flows, flow => this.boxes[flow]!),
          side,
        );
    }
    return this.left < 0;
  }

  private blocks(boxes: readonly FlowBox[], side: Side): void {
    const key = blocksKey(boxes, side);
    if (this.counted.has(key)) return;
    this.counted.add(key);
    const size = this.sizes.of(boxes, side);
    for (let first = 0; first < boxes.length && this.left >= 0; first += size)
      this.block(boxes.slice(first, first + size), side);
  }

  private block(boxes: readonly FlowBox[], side: Side): void {
    const rowBytes = strideOf(boxes.length);
    this.left -= boxes.length * this.core.Layout.CandidateBytes;
    this.portBounds(
      boxes.map(box => box.destinationPorts),
      rowBytes,
    );
    this.portBounds(
      boxes.map(box => box.sourcePorts),
      rowBytes,
    );
    if (side !== 'source')
      this.addressBounds(
        boxes.map(box => box.destinations),
        rowBytes,
      );
    if (side !== 'destination')
      this.addressBounds(
        boxes.map(box => box.sources),
        rowBytes,
      );
  }

  private portBounds(lists: readonly (readonly PortRange[])[], rowBytes: number): void {
    const { ports } = this;
    ports.begin();
    for (const ranges of lists)
      for (const { first, last } of ranges) {
        ports.add(first);
        if (last + 1 < PORTS_BEHIND) ports.add(last + 1);
      }
    this.left -= ports.count * (rowBytes + BOUND_BYTES);
  }

  private addressBounds(lists: readonly Uint32Array[], rowBytes: number): void {
    const { places } = this;
    const { firsts, behinds, ipv4First, ipv4Behind, placeCount } = this.networks;
    places.begin();
    for (const list of lists)
      for (let index = 0; index < list.length; index++) {
        const first = firsts[list[index]!]!;
        const behind = behinds[list[index]!]!;
        if (first >= ipv4Behind || behind <= ipv4First) continue;
        places.add(Math.max(first, ipv4First));
        if (behind < ipv4Behind) places.add(behind);
      }
    this.left -= places.count * (rowBytes + BOUND_BYTES);
    places.begin();
    for (const list of lists)
      for (let index = 0; index < list.length; index++) {
        const first = firsts[list[index]!]!;
        const behind = behinds[list[index]!]!;
        if (first >= ipv4First && behind <= ipv4Behind) continue;
        places.add(first);
        if (behind < placeCount) places.add(behind);
      }
    this.left -= places.count * (rowBytes + BOUND6_BYTES);
  }
}

/** Counts numbers below a limit, each once in a turn. */
class Distinct {
  count = 0;
  private turn = 0;
  private readonly turns: Uint32Array;

  constructor(limit: number) {
    this.turns = new Uint32Array(limit);
  }

  begin(): void {
    this.turn++;
    this.count = 0;
  }

  add(number: number): void {
    if (this.turns[number] === this.turn) return;
    this.turns[number] = this.turn;
    this.count++;
  }
}
