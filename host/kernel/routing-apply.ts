/** Policy routing listed and changed through `ip`: two listings and a few batches a family. */

import { listJson, type Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import { runBatch } from './batch.js';
import { parseRoutes } from './route.js';
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
      const [rules, routes] = await Promise.all([
        listJson(run, ['-N', '-j', `-${family}`, 'rule']),
        listJson(run, ['-N', '-j', `-${family}`, 'route', 'show', 'table', 'all', 'exact', 'default']),
      ]);
      return { rules: parseRules(family, rules as never[]), routes: parseRoutes(family, routes as never[]) };
    }),
  );
  return {
    families: served,
    rules: listings.map(listing => listing.rules),
    routes: listings.flatMap(listing => listing.routes),
  };
}

export interface ChangeOutcome {
  /** What the kernel answered, by the mark of the target whose route it refused. */
  readonly refused: ReadonlyMap<number, readonly string[]>;
  /** Gateways' routes, rules that stand by another hand. */
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
    if (change.route?.purpose === 'target') {
      refused.set(change.route.table, [...(refused.get(change.route.table) ?? []), text]);
    } else if (change.route?.purpose === 'gateway') {
      warnings.push(text);
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

/** The changes that failed, with what was answered. */
async function answersOf(run: Run, changes: readonly Change[]): Promise<(readonly [Change, string])[]> {
  const answers: (readonly [Change, string])[] = [];
  for (const family of [4, 6] as const) {
    const own = changes.filter(change => change.family === family);
    // A gateway's route goes alone: where its interface is missing, ip gives up on the whole batch.
    const gateways = own.filter(change => change.route?.purpose === 'gateway');
    const others = own.filter(change => change.route?.purpose !== 'gateway');
    const failures = await runBatch(
      run,
      family,
      others.map(change => change.line),
    );
    answers.push(...[...failures].map(([index, answer]) => [others[index]!, answer] as const));
    for (const change of gateways) {
      const answer = await answerAlone(run, change);
      if (answer !== null) {
        answers.push([change, answer]);
      }
    }
  }
  return answers;
}

async function answerAlone(run: Run, change: Change): Promise<string | null> {
  const words = change.line.split(' ');
  const result = await run('ip', [`-${change.family}`, ...words], { allowFailure: true });
  return result.exitCode === 0 ? null : result.stderr.trim().split('\n').join('; ');
}

/** @throws KernelError with all of `texts`, if any */
export function throwAny(texts: readonly string[]): void {
  if (texts.length > 0) {
    throw new KernelError(texts.join('; '));
  }
}
