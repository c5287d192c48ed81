/** Whether targets can be reached, as the kernel lists their routes and neighbours. Pure. */
import type { Family } from '../types/config.js';
import { type Neighbours, neighbourKey } from './neighbour.js';
import type { ListedRoute } from './route.js';
import type { NextHop, PendingCause, PendingTarget, WantedTarget } from './wanted.js';

export interface Reach {
  /** Families that are served. */
  readonly families: readonly Family[];
  /** Default routes outside main. */
  readonly routes: readonly ListedRoute[];
  readonly neighbours: Neighbours;
  /** What the kernel answered to routes that it refused, by mark. */
  readonly refused: ReadonlyMap<number, readonly string[]>;
  /** Marks of targets that take traffic: one of them is lost only when its neighbour has failed. */
  readonly serving: ReadonlySet<number>;
}

export interface Reached {
  readonly pending: PendingTarget[];
  /** Next hops of the other targets. */
  readonly hops: NextHop[];
}

/**
 * Who can be reached. A target that cannot in one family is pending in both: a mark is one for both, and connections of
 * that family would be lost.
 */
export function reachOf(targets: readonly WantedTarget[], reach: Reach): Reached {
  const routes = new Map(reach.routes.map(route => [`${route.family} ${route.table}`, route]));
  const pending: PendingTarget[] = [];
  const hops: NextHop[] = [];
  for (const { fwmark, label, nextHops } of targets) {
    const reasons: string[] = [];
    let cause: PendingCause | null = null;
    const tell = (because: PendingCause, ...words: readonly string[]): void => {
      if (words.length > 0) cause ??= because;
      reasons.push(...words);
    };
    tell('route', ...(reach.refused.get(fwmark) ?? []));
    const own: NextHop[] = [];
    const unresolved: NextHop[] = [];
    for (const { family, address } of nextHops.filter(host => reach.families.includes(host.family))) {
      const route = routes.get(`${family} ${fwmark}`)?.hops[0];
      if (route?.device === undefined) {
        if (!reach.refused.has(fwmark)) tell('route', `IPv${family} table ${fwmark} has no route`);
        continue;
      }
      const hop = { family, address, device: route.device };
      own.push(hop);
      const state = reach.neighbours.get(neighbourKey(hop));
      if (route.dead) {
        tell('link', `link ${hop.device} is down`);
      } else if (state === 'failed') {
        tell('neighbour', `neighbour ${address} on ${hop.device} does not answer`);
        unresolved.push(hop);
      } else if (state !== 'valid' && !reach.serving.has(fwmark)) {
        tell('neighbour', `neighbour ${address} on ${hop.device} has not answered yet`);
        unresolved.push(hop);
      }
    }
    if (cause === null) hops.push(...own);
    else pending.push({ fwmark, label, cause, reason: reasons.join('; '), unresolved });
  }
  return { pending, hops };
}
