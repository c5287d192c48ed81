/** Policy routing and neighbours listed through `ip`, and policy routing changed: a process and a batch a family. */

import type { Run } from '../programs/command.js';
import type { Family, Prefix } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import { runBatch } from './batch.js';
import { DEFAULT_ROUTES, listAll, NEIGHBOURS, RULES, SUBNETS } from './listing.js';
import { type Neighbours, parseNeighbours } from './neighbour.js';
import { type ListedRoute, parseRoutes } from './route.js';
import type { Change, Removal, RoutingListing } from './routing.js';
import { parseRules } from './rule.js';

export interface Reachability {
  /** Default routes outside main. */
  readonly routes: readonly ListedRoute[];
  readonly neighbours: Neighbours;
}

/**
 * List rules, default routes, networks and neighbours.
 * @param present families that the kernel has
 * @param served  those of them for which rules and routes are wanted
 */
export async function listRouting(
  run: Run,
  present: readonly Family[],
  served: readonly Family[],
): Promise<{ listing: RoutingListing; neighbours: Neighbours }> {
  const listings = await Promise.all(
    present.map(async family => {
      const questions = [RULES, DEFAULT_ROUTES, SUBNETS, NEIGHBOURS];
      const [rules, routes, subnets, neighbours] = await listAll(run, family, questions);
      return {
        rules: parseRules(family, rules as never[]),
        routes: parseRoutes(family, routes as never[]),
        subnets: parseSubnets(family, subnets as never[]),
        neighbours: parseNeighbours(neighbours as never[]),
      };
    }),
  );
  return {
    listing: {
      families: served,
      rules: listings.map(listing => listing.rules),
      routes: listings.flatMap(listing => listing.routes),
      subnets: listings.flatMap(listing => listing.subnets),
    },
    neighbours: new Map(listings.flatMap(listing => [...listing.neighbours])),
  };
}

/** Routes and neighbours of families that the kernel has. */
export async function listReachability(run: Run, present: readonly Family[]): Promise<Reachability> {
  const listings = await Promise.all(
    present.map(async family => {
      const [routes, neighbours] = await listAll(run, family, [DEFAULT_ROUTES, NEIGHBOURS]);
      return {
        routes: parseRoutes(family, routes as never[]),
        neighbours: parseNeighbours(neighbours as never[]),
      };
    }),
  );
  return {
    routes: listings.flatMap(listing => listing.routes),
    neighbours: new Map(listings.flatMap(listing => [...listing.neighbours])),
  };
}

/** Networks of interfaces: routes that the kernel made for their addresses, link-local ones aside. */
function parseSubnets(family: Family, entries: readonly { readonly dst: string }[]): Prefix[] {
  const subnets = entries.flatMap(({ dst }) => {
    const [address = '', length] = dst.split('/');
    return length === undefined || address.startsWith('fe80:') || address.startsWith('ff')
      ? []
      : [{ family, address, length: Number(length) }];
  });
  // Two interfaces may be in one network.
  return [...new Map(subnets.map(subnet => [`${subnet.address}/${subnet.length}`, subnet])).values()];
}

export interface ChangeOutcome {
  /** What the kernel answered, by the mark of the target whose route it refused. */
  readonly refused: ReadonlyMap<number, readonly string[]>;
  /** Rules that stand by another hand. */
  readonly warnings: readonly string[];
}

/** ip's words where a rule by another hand stands that the kernel takes for the same, though it is listed otherwise. */
const EXISTS = /File exists/;
/** ip's words where the thing to remove is gone already. */
const GONE = /No such (file or directory|process)|FIB table does not exist/;

/** Apply all `changes`, also behind one that fails. @throws KernelError if one that must not fail did */
export async function applyChanges(run: Run, changes: readonly Change[]): Promise<ChangeOutcome> {
  const refused = new Map<number, string[]>();
  const warnings: string[] = [];
  const errors: string[] = [];
  for (const [change, answer] of await answersOf(run, changes)) {
    const text = `ip -${change.family} ${change.line}: ${answer}`;
    if (change.route !== null && change.route.gateway !== null) {
      refused.set(change.route.table, [...(refused.get(change.route.table) ?? []), text]);
    } else if (change.route === null && EXISTS.test(answer)) {
      warnings.push(text);
    } else {
      errors.push(text);
    }
  }
  throwAny(errors);
  return { refused, warnings };
}

/** Apply all `removals`, and return those that the kernel refused with its words. */
export async function applyRemovals(
  run: Run,
  removals: readonly Removal[],
): Promise<(readonly [Removal, string])[]> {
  const answers: (readonly [Removal, string])[] = [];
  for (const family of [4, 6] as const) {
    const own = removals.filter(removal => removal.family === family);
    const failures = await runBatch(
      run,
      family,
      own.map(removal => removal.line),
    );
    for (const [index, answer] of failures) {
      if (!GONE.test(answer)) {
        answers.push([own[index]!, `ip -${family} ${own[index]!.line}: ${answer}`]);
      }
    }
  }
  return answers;
}

/** The changes that failed, with what was answered; the two families side by side. */
async function answersOf(run: Run, changes: readonly Change[]): Promise<(readonly [Change, string])[]> {
  const answers = await Promise.all(
    ([4, 6] as const).map(async family => {
      const own = changes.filter(change => change.family === family);
      const failures = await runBatch(
        run,
        family,
        own.map(change => change.line),
      );
      return [...failures].map(([index, answer]) => [own[index]!, answer] as const);
    }),
  );
  return answers.flat();
}

/** @throws KernelError with all of `texts`, if any */
export function throwAny(texts: readonly string[]): void {
  if (texts.length > 0) {
    throw new KernelError(texts.join('; '));
  }
}
