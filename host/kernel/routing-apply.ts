/** Policy routing listed and changed through `ip`: three listings and a batch a family. */

import { listJson, type Run } from '../programs/command.js';
import type { Family, Prefix } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import { runBatch } from './batch.js';
import { type ListedRoute, parseRoutes } from './route.js';
import type { Change, Removal, RoutingListing } from './routing.js';
import { parseRules } from './rule.js';

/**
 * List rules and default routes.
 * @param present families that the kernel has
 * @param served  those of them for which rules and routes are wanted
 */
export async function listRouting(
  run: Run,
  present: readonly Family[],
  served: readonly Family[],
): Promise<RoutingListing> {
  const listings = await Promise.all(
    present.map(async family => {
      const [rules, routes, connected] = await Promise.all([
        listJson(run, ['-N', '-j', `-${family}`, 'rule']),
        listRoutes(run, family),
        listJson(run, ['-N', '-j', `-${family}`, 'route', 'show', 'table', 'main', 'proto', 'kernel']),
      ]);
      return {
        rules: parseRules(family, rules as never[]),
        routes,
        subnets: parseSubnets(family, connected as { dst: string }[]),
      };
    }),
  );
  return {
    families: served,
    rules: listings.map(listing => listing.rules),
    routes: listings.flatMap(listing => listing.routes),
    subnets: listings.flatMap(listing => listing.subnets),
  };
}

/** Default routes outside main. */
export async function listRoutes(run: Run, family: Family): Promise<ListedRoute[]> {
  const args = ['-N', '-j', `-${family}`, 'route', 'show', 'table', 'all', 'exact', 'default'];
  return parseRoutes(family, (await listJson(run, args)) as never[]);
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
