/** Which flow of the classifier is filed where: by destination, by source, or with the rest, within bounds of time and memory. */
import type { ClassifierLimits } from './classifier.js';
import { boundsOf } from './flow-blocks.js';
import type { FlowBox } from './flow-box.js';
import { Lists } from './lists.js';
import { ANY, type Networks, networksWhere, parentsOf } from './networks.js';

/** The flows under each network, ascending, and those under none. */
export interface Filing {
  readonly destinations: Lists;
  readonly sources: Lists;
  readonly rest: readonly FlowBox[];
}

type By = 'destinations' | 'sources';

interface Plan {
  readonly box: FlowBox;
  readonly by: By;
  readonly networks: Uint32Array;
  /** Bounds that are filed for it, with each of its networks. */
  readonly copies: number;
}

const EVERY = Uint32Array.of(ANY);
const NOWHERE = new Uint32Array(0);

function orAny(list: Uint32Array): Uint32Array {
  return list.length === 0 ? EVERY : list;
}

/** Each flow under all of its destinations, or all of its sources, or with the rest. */
export function file(networks: Networks, boxes: readonly FlowBox[], limits: ClassifierLimits): Filing {
  const crowds = {
    destinations: crowdsOf(networks, boxes, 'destinations'),
    sources: crowdsOf(networks, boxes, 'sources'),
  };
  const plans = boxes.map((box): Plan => {
    const by = isBySource(box, crowds, limits) ? 'sources' : 'destinations';
    const list = orAny(box[by]);
    let crowded = 0;
    for (let index = 0; index < list.length; index++)
      if (crowds[by][list[index]!]! > limits.listedFlows) crowded++;
    const side = by === 'sources' ? 'destination' : 'source';
    return { box, by, networks: list, copies: list.length + crowded * boundsOf(box, side) };
  });

  const depths = {
    destinations: depthsOf(networks, plans, 'destinations'),
    sources: depthsOf(networks, plans, 'sources'),
  };
  // The cheapest first: whoever asks for much is the one to be left for the rest.
  let left =
    limits.freeCopies + limits.copies * boxes.reduce((sum, box) => sum + 1 + boundsOf(box, 'both'), 0);
  const admitted = new Set<FlowBox>();
  for (const { box, by, networks: list, copies } of plans.toSorted(
    (one, other) => one.copies - other.copies,
  )) {
    if (copies > left) break;
    if (list.some(network => depths[by][network]! > limits.nested)) continue;
    left -= copies;
    admitted.add(box);
  }

  const filed = (by: By) =>
    Lists.byItem(
      plans.map(plan => (plan.by === by && admitted.has(plan.box) ? plan.networks : NOWHERE)),
      networks.count,
    );
  return {
    destinations: filed('destinations'),
    sources: filed('sources'),
    rest: boxes.filter(box => !admitted.has(box)),
  };
}

function isBySource(
  box: FlowBox,
  crowds: Record<By, Uint32Array>,
  { crowd: most, lessCrowded }: ClassifierLimits,
): boolean {
  if (box.sources.length === 0) return false;
  const crowd = (by: By) =>
    orAny(box[by]).reduce((largest, network) => Math.max(largest, crowds[by][network]!), 0);
  const destinations = crowd('destinations');
  return destinations > most && crowd('sources') * lessCrowded <= destinations;
}

/** By network: how many flows have it in their list. */
function crowdsOf({ count }: Networks, boxes: readonly FlowBox[], by: By): Uint32Array {
  const crowds = new Uint32Array(count);
  for (const box of boxes) {
    const list = orAny(box[by]);
    for (let index = 0; index < list.length; index++) crowds[list[index]!]!++;
  }
  return crowds;
}

/** By network: how many of the networks that flows are to be filed under hold it, itself included. */
function depthsOf(networks: Networks, plans: readonly Plan[], by: By): Uint32Array {
  const depths = new Uint32Array(networks.count);
  for (const plan of plans) {
    if (plan.by !== by) continue;
    for (let index = 0; index < plan.networks.length; index++) depths[plan.networks[index]!] = 1;
  }
  const filed = networksWhere(networks, network => depths[network]! > 0);
  parentsOf(networks, filed).forEach((parent, index) => {
    if (parent >= 0) depths[filed[index]!] = 1 + depths[filed[parent]!]!;
  });
  return depths;
}
