/** What differs between two configurations, by the names of their author. Pure. */
import type { Config, Stream, Target } from '../types/config.js';
import type { Difference } from '../types/difference.js';
import { prefixText } from './address.js';

/**
 * Names of what differs: `vip 20.0.0.1/32`, `stream web`, `stream web: healthCheck`, `web/2` (a target),
 * `flow http: priority`, `gateway a: bfd`, `portNat tcp 80 to 8080`, and other keys as `shutdownDelay`.
 */
export interface ConfigChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

type Kind = keyof ConfigChanges;
/** A key is absent, or an optional part is null. */
type Fields = Readonly<Record<string, unknown>>;

const NOTHING: ReadonlySet<string> = new Set();
/** Their elements have names; the other keys are compared as a whole. */
const LISTS = new Set<string>(['vips', 'streams', 'flows', 'gateways', 'portNats']);

/** @param after  takes the place of `before` */
export function configChanges(before: Config, after: Config): ConfigChanges {
  const changes: Record<Kind, string[]> = { added: [], removed: [], changed: [] };
  const compare = <Value extends object>(
    valuesOf: (config: Config) => ReadonlyMap<string, Value>,
    except?: ReadonlySet<string>,
  ): void => compareLists(changes, valuesOf(before), valuesOf(after), except);
  compare(({ vips }) => named(vips, vip => `vip ${prefixText(vip)}`));
  compare(({ streams }) => named(streams, streamName), new Set(['targets']));
  compare(({ streams }) => targetsOf(streams), new Set(['fwmark']));
  compare(({ flows }) => named(flows, flowName));
  compare(({ gateways }) => named(gateways, gatewayName));
  compare(({ portNats }) => named(portNats, natName));
  compareFields(changes, '', fieldsOf(before), fieldsOf(after), LISTS);
  const orders = (config: Config) => [
    ['order of flows', config.flows.map(flowName)] as const,
    ['order of gateways', config.gateways.map(gatewayName)] as const,
    ...config.streams.map(
      stream => [`${streamName(stream)}: order of targets`, [...targetsOf([stream]).keys()]] as const,
    ),
  ];
  const former = new Map(orders(before));
  for (const [what, names] of orders(after)) {
    if (isReordered(former.get(what) ?? [], names)) changes.changed.push(what);
  }
  return changes;
}

/** As lines of `magmark diff`. */
export function configurationDifferences({ added, removed, changed }: ConfigChanges): Difference[] {
  const lines = (kind: Difference['kind'], names: readonly string[]): Difference[] =>
    names.map(what => ({ of: 'configuration', kind, what }));
  return [...lines('missing', added), ...lines('changed', changed), ...lines('surplus', removed)];
}

/** Of thousands of names, a log line and a status have this many of each kind. */
const MOST_NAMES = 20;

/** At most 20 names of each kind, and how many there are besides: `and 3 more`. Kinds without names are absent. */
export function shortChanges(changes: ConfigChanges): Partial<ConfigChanges> {
  const kinds = (['added', 'removed', 'changed'] as const).filter(kind => changes[kind].length > 0);
  return Object.fromEntries(kinds.map(kind => [kind, shortNames(changes[kind])]));
}

function shortNames(names: readonly string[]): readonly string[] {
  if (names.length <= MOST_NAMES) return names;
  return [...names.slice(0, MOST_NAMES), `and ${names.length - MOST_NAMES} more`];
}

/** In the order of the file. Two flows may share a name: the second is `flow a #2`. */
function named<Value>(values: readonly Value[], nameOf: (value: Value) => string): Map<string, Value> {
  const byName = new Map<string, Value>();
  const seen = new Map<string, number>();
  for (const value of values) {
    const name = nameOf(value);
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    byName.set(count === 1 ? name : `${name} #${count}`, value);
  }
  return byName;
}

const streamName = ({ name }: Stream) => `stream ${name}`;
const flowName = ({ name }: Config['flows'][number]) => `flow ${name}`;
const gatewayName = ({ name }: Config['gateways'][number]) => `gateway ${name}`;
const natName = ({ protocol, port, targetPort }: Config['portNats'][number]) =>
  `portNat ${protocol} ${port} to ${targetPort}`;

/** By `web/2`, as every other output names them. */
function targetsOf(streams: readonly Stream[]): Map<string, Target> {
  return new Map(
    streams.flatMap(stream =>
      stream.targets.map(target => [`${stream.name}/${target.identifier}`, target] as const),
    ),
  );
}

/** Whether those in both have another order. */
function isReordered(before: readonly string[], after: readonly string[]): boolean {
  const [former, latter] = [new Set(before), new Set(after)];
  const kept = before.filter(name => latter.has(name));
  return kept.join('\n') !== after.filter(name => former.has(name)).join('\n');
}

function compareLists<Value extends object>(
  changes: Record<Kind, string[]>,
  before: ReadonlyMap<string, Value>,
  after: ReadonlyMap<string, Value>,
  except: ReadonlySet<string> = NOTHING,
): void {
  for (const name of before.keys()) if (!after.has(name)) changes.removed.push(name);
  for (const [name, value] of after) {
    const former = before.get(name);
    if (former === undefined) changes.added.push(name);
    else compareFields(changes, `${name}: `, fieldsOf(former), fieldsOf(value), except);
  }
}

/** @param path  before a key's name: `stream web: ` */
function compareFields(
  changes: Record<Kind, string[]>,
  path: string,
  before: Fields,
  after: Fields,
  except: ReadonlySet<string>,
): void {
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (except.has(key)) continue;
    const [from, to] = [before[key] ?? null, after[key] ?? null];
    if (JSON.stringify(from) === JSON.stringify(to)) continue;
    const kind = from === null ? 'added' : to === null ? 'removed' : 'changed';
    // As the file names it: the unit is part of its value.
    changes[kind].push(`${path}${key.replace(/(?:Ms|Seconds)$/, '')}`);
  }
}

function fieldsOf(value: object): Fields {
  return value as Fields;
}
