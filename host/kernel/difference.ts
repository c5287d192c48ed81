/** What differs between what is wanted and what the kernel holds, as lines for people. Pure. */
import type { Difference } from '../types/difference.js';
import type { MangleRule } from './carrier.js';
import type { NftDifference, NftTable } from './nft-table.js';
import type { Change, Removal } from './routing.js';

/** @param replaced `4 5044`: families and tables that hold a default route in the place of ours */
export function routingDifferences(
  added: readonly Change[],
  removed: readonly Removal[],
  replaced: ReadonlySet<string>,
): Difference[] {
  const routed = new Set(
    added.flatMap(({ family, of }) => (of.kind === 'route' ? [`${family} ${of.route.table}`] : [])),
  );
  return [
    ...added.map(({ family, line, of }): Difference => {
      const isReplaced = of.kind === 'route' && replaced.has(`${family} ${of.route.table}`);
      return { kind: isReplaced ? 'changed' : 'missing', what: `ip -${family} ${line}` };
    }),
    // Those that replace another are told above.
    ...removed
      .filter(({ claim }) => 'priority' in claim || !routed.has(`${claim.family} ${claim.table}`))
      .map(({ family, line }): Difference => ({ kind: 'surplus', what: `ip -${family} ${line}` })),
  ];
}

/** @param isListed whether a table of this name stands */
export function tableDifference(
  table: NftTable,
  difference: NftDifference | 'beyond repair',
  isListed: boolean,
): Difference[] {
  const name = `table inet ${table.name}`;
  if (difference === 'beyond repair') return [{ kind: isListed ? 'changed' : 'missing', what: name }];
  const { missing, changed, surplus } = difference;
  const lines = (kind: Difference['kind'], object: string, names: readonly string[]): Difference[] =>
    names.map(each => ({ kind, what: `${name}: ${object} ${each}` }));
  const names = (things: readonly { readonly name: string }[]) => things.map(thing => thing.name);
  return [
    ...lines('missing', 'set', names(missing.sets)),
    ...lines('missing', 'chain', names(missing.chains)),
    ...lines('changed', 'set', names(changed.sets)),
    ...lines('changed', 'chain', names(changed.chains)),
    // An empty one is kept: to unregister its hook would cost packets.
    ...lines('surplus', 'chain', names(surplus.chains.filter(chain => !chain.empty))),
    ...lines('surplus', 'set', surplus.sets),
  ];
}

/** @param table `ip mangle` */
export function mangleDifferences(
  table: string,
  wanted: readonly MangleRule[],
  listed: readonly MangleRule[],
): Difference[] {
  const text = (rule: MangleRule) => `table ${table}: -A ${rule.chain} ${rule.text}`;
  const [asked, standing] = [new Set(wanted.map(text)), listed.map(text)];
  const known = new Set(standing);
  return [
    ...[...asked].filter(line => !known.has(line)).map(what => ({ kind: 'missing' as const, what })),
    ...standing
      .filter((line, index) => !asked.has(line) || standing.indexOf(line) !== index)
      .map(what => ({ kind: 'surplus' as const, what })),
  ];
}
