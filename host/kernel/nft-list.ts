/**
 * What `nft` lists. Contract: an error, a listing that is cut off and text of another form throw a KernelError; none of
 * them is read as "nothing is there". Only nft's own words for a missing object mean that it is missing.
 */
import { parseJson, type Run } from '../programs/command.js';
import { excerpt } from '../programs/excerpt.js';
import { KernelError } from '../types/errors.js';
import type { ListedObject } from './nft-listing.js';

/** The words of nft for a table or chain that does not exist (ENOENT). */
const MISSING = /^Error: No such file or directory(?:; did you mean .*)?$/m;

/** All nftables tables, as `inet meridio-nfqlb`. @throws KernelError */
export async function listTables(run: Run): Promise<ReadonlySet<string>> {
  // Not as JSON: nft 1.0.6 prints broken JSON where any table has a flag.
  return listedTables((await run('nft', ['list', 'tables'])).stdout);
}

/** Tables as `inet meridio-nfqlb`, of what `nft list tables` prints. @throws KernelError at any other line */
function listedTables(listing: string): Set<string> {
  const lines = listing.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  return new Set(
    lines.map(line => {
      const name = /^table (\S+ \S+)$/.exec(line)?.[1];
      if (name === undefined) throw new KernelError(`nft list tables: not a table: ${excerpt(line)}`);
      return name;
    }),
  );
}

/**
 * Objects of one table or one chain; null: it does not exist.
 * @param of `['table', 'inet', 'meridio-nfqlb']`
 * @throws KernelError
 */
export async function listObjects(run: Run, of: readonly string[]): Promise<ListedObject[] | null> {
  const [kind = '', , ...names] = of;
  return listWhole(run, of, kind, names.at(-1)!);
}

/** Packets of the counters `names` of a table of family inet, in their order; null: it does not exist. @throws KernelError */
export async function listCounters(
  run: Run,
  table: string,
  names: readonly string[],
): Promise<number[] | null> {
  const objects = await listWhole(run, ['counters', 'table', 'inet', table], 'counter', names[0]!);
  return (
    objects &&
    names.map(name => Number(objects.find(({ counter }) => counter?.name === name)?.counter?.packets ?? 0))
  );
}

/** @param kind  of an object that a whole listing contains by its name */
async function listWhole(
  run: Run,
  what: readonly string[],
  kind: string,
  name: string,
): Promise<ListedObject[] | null> {
  const args = ['-j', 'list', ...what];
  const command = `nft ${args.join(' ')}`;
  const { exitCode, stdout, stderr } = await run('nft', args, { allowFailure: true });
  if (exitCode !== 0) {
    if (MISSING.test(stderr)) return null;
    throw new KernelError(`${command}: exit code ${exitCode}: ${excerpt(stderr)}`);
  }
  const objects = nftObjects(stdout, command);
  if (!objects.some(object => object[kind]?.name === name)) {
    throw new KernelError(`${command}: the listing does not contain the ${kind}: ${excerpt(stdout)}`);
  }
  return objects;
}

/** The objects of `nft -j`'s output. @throws KernelError if it is not a whole listing */
function nftObjects(stdout: string, command: string): ListedObject[] {
  const objects = (parseJson(stdout, command) as { nftables?: unknown } | null)?.nftables;
  const isListing =
    Array.isArray(objects) &&
    objects.every(object => typeof object === 'object' && object !== null) &&
    objects[0]?.metainfo !== undefined;
  if (!isListing) throw new KernelError(`${command}: not a listing of nft: ${excerpt(stdout)}`);
  return objects.slice(1) as ListedObject[];
}

/** Characters of a listing that is cut off in a message. */
const LAST = 100;

/** The whole ruleset as text. @throws KernelError, also if it is cut off */
export async function listRuleset(run: Run, options: readonly string[], boundMs?: number): Promise<string> {
  const bound = boundMs === undefined ? {} : { boundMs };
  const { stdout } = await run('nft', [...options, 'list', 'ruleset'], bound);
  const lines = stdout.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  const isWhole = lines.length === 0 || (/^table .* \{/.test(lines[0]!) && lines.at(-1) === '}');
  if (isWhole) return stdout;
  throw new KernelError(`nft list ruleset: not a whole ruleset: ${excerpt(stdout.slice(-LAST))}`);
}
