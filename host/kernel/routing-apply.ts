/** Policy routing and neighbours listed through `ip`, and policy routing changed: a process and a batch a family. */

import type { Run } from '../programs/command.js';
import { addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import { runBatch, runBatchAndAsk } from './batch.js';
import {
  ALL_ROUTES,
  DEFAULT_ROUTES,
  defaultRoutesOf,
  LINK_ROUTES,
  LOCAL_ROUTES,
  listAll,
  NEIGHBOURS,
  neighboursAt,
  RULES,
  tableRoutes,
} from './listing.js';
import { type LocalRoute, parseLocalRoutes } from './local-route.js';
import { type Neighbours, parseNeighbours } from './neighbour.js';
import { type InterfaceNetwork, listInterfaceNetworks, nextHopFault } from './next-hop.js';
import { parseLinkRoutes } from './on-link.js';
import { type ListedRoute, parseNarrow, parseNarrowOf, parseRoutes } from './route.js';
import type { Change, Removal, RoutingListing } from './routing.js';
import { parseRules } from './rule.js';
import { together } from './together.js';

/** So few things are asked for one by one: a listing of thousands takes `ip` longer than these. */
const FEW = 16;

export interface Reachability {
  /** Default routes outside main. */
  readonly routes: readonly ListedRoute[];
  readonly neighbours: Neighbours;
}

/**
 * List rules, default routes, networks, neighbours and what is local.
 * @param present   families that the kernel has
 * @param served    those of them for which rules and routes are wanted
 * @param inspected tables of targets whose other routes are listed too
 */
export async function listRouting(
  run: Run,
  present: readonly Family[],
  served: readonly Family[],
  inspected: readonly number[],
): Promise<{ listing: RoutingListing; neighbours: Neighbours; local: readonly LocalRoute[] }> {
  // Of many tables one listing of all routes, those of main too, tells more cheaply.
  const fewInspected = inspected.length <= FEW ? inspected : [];
  const manyInspected = new Set(inspected.length <= FEW ? [] : inspected);
  const listings = await Promise.all(
    present.map(async family => {
      const all = manyInspected.size === 0 ? DEFAULT_ROUTES : ALL_ROUTES;
      const fixed = [RULES, all, NEIGHBOURS, LOCAL_ROUTES, ...LINK_ROUTES[family]];
      const answers = await listAll(run, family, [...fixed, ...fewInspected.map(tableRoutes)]);
      const [rules, routes, neighbours, local] = answers;
      const links = answers.slice(4, fixed.length);
      return {
        rules: parseRules(family, rules as never[]),
        routes: parseRoutes(family, routes as never[]),
        // The first of them are the kernel's own.
        links: links.flatMap((entries, index) => parseLinkRoutes(family, entries as never[], index === 0)),
        narrow: [
          ...fewInspected.flatMap((table, index) =>
            parseNarrow(family, table, answers[fixed.length + index] as never[]),
          ),
          ...parseNarrowOf(family, manyInspected, routes as never[]),
        ],
        neighbours: parseNeighbours(neighbours as never[]),
        local: parseLocalRoutes(family, local as never[]),
      };
    }),
  );
  return {
    listing: {
      families: served,
      rules: listings.map(listing => listing.rules),
      routes: listings.flatMap(listing => listing.routes),
      links: listings.flatMap(listing => listing.links),
      narrow: listings.flatMap(listing => listing.narrow),
    },
    neighbours: new Map(listings.flatMap(listing => [...listing.neighbours])),
    local: listings.flatMap(listing => listing.local),
  };
}

export interface ChangeOutcome extends Reachability {
  /** What the kernel answered, by the mark of the target whose route it refused. */
  readonly refused: ReadonlyMap<number, readonly string[]>;
  /** Rules that stand by another hand, and neighbours that could not be forgotten. */
  readonly warnings: readonly string[];
}

/** ip's words where a rule by another hand stands that the kernel takes for the same, though it is listed otherwise. */
const EXISTS = /File exists/;
/** ip's words where the thing to remove is gone already. */
const GONE = /No such (file or directory|process)|FIB table does not exist/;

/**
 * Apply all `changes`, also behind one that fails, and list what can be reached then.
 * @param present families that the kernel has
 * @param before  what could be reached before
 * @throws KernelError if one that must not fail did
 */
export async function applyChanges(
  run: Run,
  present: readonly Family[],
  changes: readonly Change[],
  before: Reachability,
): Promise<ChangeOutcome> {
  const tables = new Set(changes.flatMap(({ of }) => (of.kind === 'route' ? [of.route.table] : [])));
  const addresses = new Set(
    changes.flatMap(({ of }) => (of.kind === 'forget' || of.kind === 'ask' ? [of.address] : [])),
  );
  const areFew = tables.size + addresses.size <= FEW;
  const refused = new Map<number, string[]>();
  const warnings: string[] = [];
  const errors: string[] = [];
  // Listed only if a route is refused.
  let networks: Promise<InterfaceNetwork[]> | undefined;
  const reached = await together(
    present.map(async family => {
      const own = changes.filter(change => change.family === family);
      const lines = own.map(change => change.line);
      const hosts = [...addresses].filter(address => (address.includes(':') ? 6 : 4) === family);
      const questions = areFew
        ? [...[...tables].map(defaultRoutesOf), ...hosts.map(neighboursAt)]
        : [DEFAULT_ROUTES, NEIGHBOURS];
      const { failures, answers } = await runBatchAndAsk(run, family, lines, questions);
      for (const [index, answer] of failures) {
        const { line, of } = own[index]!;
        const text = `ip -${family} ${line}: ${answer}`;
        if (of.kind === 'route' && of.route.gateway !== null) {
          networks ??= listInterfaceNetworks(run);
          const fault = nextHopFault({ family, address: of.route.gateway }, await networks);
          const reason = fault === null ? text : `${fault} (${text})`;
          refused.set(of.route.table, [...(refused.get(of.route.table) ?? []), reason]);
        } else if (of.kind === 'forget' || (of.kind === 'rule' && EXISTS.test(answer))) {
          warnings.push(text);
        } else if (of.kind !== 'ask') {
          // Who could not be asked for is seen by his entry.
          errors.push(text);
        }
      }
      if (!areFew) {
        const [routes, neighbours] = answers;
        return {
          routes: parseRoutes(family, routes as never[]),
          neighbours: parseNeighbours(neighbours as never[]),
        };
      }
      return {
        routes: [...tables].flatMap((table, index) => parseRoutes(family, answers[index] as never[], table)),
        neighbours: parseNeighbours(answers.slice(tables.size).flat() as never[]),
      };
    }),
  );
  throwAny(errors);
  const asked = new Set([...addresses].map(address => String(addressNumber(address))));
  return {
    refused,
    warnings,
    routes: [
      ...(areFew ? before.routes.filter(({ table }) => !tables.has(table)) : []),
      ...reached.flatMap(({ routes }) => routes),
    ],
    neighbours: new Map([
      ...(areFew ? [...before.neighbours].filter(([key]) => !asked.has(key.split(' ')[0]!)) : []),
      ...reached.flatMap(({ neighbours }) => [...neighbours]),
    ]),
  };
}

/** Apply all `removals`, and return those that the kernel refused with its words. */
export async function applyRemovals(
  run: Run,
  removals: readonly Removal[],
): Promise<(readonly [Removal, string])[]> {
  const answers = await together(
    ([4, 6] as const).map(async family => {
      const own = removals.filter(removal => removal.family === family);
      const failures = await runBatch(
        run,
        family,
        own.map(removal => removal.line),
      );
      return [...failures].flatMap(([index, answer]) =>
        GONE.test(answer) ? [] : [[own[index]!, `ip -${family} ${own[index]!.line}: ${answer}`] as const],
      );
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
