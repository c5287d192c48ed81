/** How many flows a block of the classifier has, and which nodes need none. */
import type { ClassifierLimits } from './classifier.js';
import { boundsOf, type Side, strideOf } from './flow-blocks.js';
import type { FlowBox } from './flow-box.js';

/** A node knows one address of the packet and asks about this one. */
export type OneSide = Exclude<Side, 'both'>;

/** Of one classifier, asked in the order in which its blocks are written. */
export class BlockSizes {
  private largeRowsLeft: number;
  /** `boundsOf` each flow. */
  readonly bounds: Readonly<Record<OneSide, Uint32Array>>;

  constructor(
    boxes: readonly FlowBox[],
    private readonly limits: ClassifierLimits,
  ) {
    this.largeRowsLeft = limits.largeRowsBytes;
    const of = (side: OneSide) => Uint32Array.from(boxes, box => boundsOf(box, side));
    this.bounds = { destination: of('destination'), source: of('source') };
  }

  /** Flows of a block. */
  of(boxes: readonly FlowBox[], side: Side): number {
    const large = Math.min(boxes.length, this.limits.largeBlock);
    const bytes = boxes.reduce((sum, box) => sum + boundsOf(box, side), 0) * strideOf(large);
    if (large <= this.limits.smallBlock) return large;
    if (bytes > this.largeRowsLeft) return this.limits.smallBlock;
    this.largeRowsLeft -= bytes;
    return large;
  }

  /** Whether a node has its flows in a short list, and no blocks. */
  isListed(flows: Uint32Array, side: OneSide): boolean {
    if (flows.length > this.limits.listedFlows) return false;
    const bounds = this.bounds[side];
    let sum = 0;
    for (let index = 0; index < flows.length; index++) sum += bounds[flows[index]!]!;
    return sum <= this.limits.listedBounds;
  }
}

/** The same for nodes that share their blocks. */
export function blocksKey(boxes: readonly FlowBox[], side: Side): string {
  return `${side} ${boxes.map(({ flow }) => flow).join()}`;
}
