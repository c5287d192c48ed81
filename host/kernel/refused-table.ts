/**
 * nft refused a transaction: which table of it, which rule, and what to do. Dry runs (`nft -c`) find it; they change nothing.
 * A table that is optional is left out, so that one rule which a version of nft does not know stops no traffic.
 */
import type { Run } from '../programs/command.js';
import { GUARD_TABLE } from './guard.js';
import { NAT_TABLE } from './nat.js';
import { NAT_ERRORS_TABLE } from './nat-errors.js';
import { type Command, type NftChain, type NftTable, replaceCommands } from './nft-table.js';
import { SNAT_LOCAL_TABLE } from './snat-local.js';

/** Tables that traffic can do without, with what is then lost. */
const OPTIONAL: ReadonlyMap<string, string> = new Map([
  [
    SNAT_LOCAL_TABLE,
    'clients do not get the ICMP errors that this host makes (too big, time exceeded, unreachable)',
  ],
  [GUARD_TABLE, 'packets to a VIP that have none of our marks are forwarded, and losses are not seen'],
  [NAT_ERRORS_TABLE, 'ICMP errors about connections with port NAT name the wrong port'],
]);
/** Tables that a configuration key needs. */
const KEYS: ReadonlyMap<string, string> = new Map([[NAT_TABLE, 'portNats']]);
/** Every rule was loaded, listed and compared by these. */
const TESTED = '1.0.6 to 1.1.7';

export interface RefusedTable {
  readonly name: string;
  readonly optional: boolean;
  /** One line: table, rule, answer, next step. */
  readonly message: string;
}

/** What nft answered. */
export interface Answer {
  readonly exitCode: number;
  readonly stderr: string;
}

export function tryCommands(run: Run, commands: readonly Command[]): Promise<Answer> {
  const input = JSON.stringify({ nftables: commands });
  return run('nft', ['-c', '-j', '-f', '-'], { input, allowFailure: true });
}

/**
 * @param table    nft refuses its commands
 * @param answered what nft answered to them
 */
export async function refusalOf(run: Run, table: NftTable, answered: Answer): Promise<RefusedTable> {
  const { place, answer } = await findRule(run, table, answered);
  const version = (await run('nft', ['--version'], { allowFailure: true })).stdout.trim();
  const lost = OPTIONAL.get(table.name);
  const key = KEYS.get(table.name);
  return {
    name: table.name,
    optional: lost !== undefined,
    message:
      `nft refuses table inet ${table.name}${place}: ${answer}. ` +
      (lost === undefined ? '' : `Without this table ${lost}. `) +
      `${version} is installed, nft ${TESTED} is tested: install one of these` +
      (key === undefined ? '' : `, or remove ${key} from the configuration`) +
      (lost === undefined ? '' : '. The next reload tries again'),
  };
}

/** The first rule that nft refuses by itself; none if the refusal is about the table, a set or a chain. */
async function findRule(
  run: Run,
  table: NftTable,
  answered: Answer,
): Promise<{ readonly place: string; readonly answer: string }> {
  const withRules = (chains: NftTable['chains']) => replaceCommands({ ...table, chains });
  const empty: readonly NftChain[] = table.chains.map(chain => ({ ...chain, rules: [] }));
  const frame = await tryCommands(run, withRules(empty));
  if (frame.exitCode !== 0) return { place: '', answer: answerText(frame) };
  for (const [index, chain] of table.chains.entries()) {
    for (const [number, rule] of chain.rules.entries()) {
      const alone = await tryCommands(run, withRules(empty.with(index, { ...chain, rules: [rule] })));
      if (alone.exitCode !== 0) {
        return { place: `, chain ${chain.name}, rule ${number + 1}`, answer: answerText(alone) };
      }
    }
  }
  return { place: '', answer: answerText(answered) };
}

/** The first line without the place in the input, which is a file without a name. */
function answerText({ exitCode, stderr }: Answer): string {
  const line = stderr.trim().split('\n')[0] ?? '';
  return line.replace(/^\S+:\d+:\d+-\d+: (Error: )?/, '') || `exit code ${exitCode}`;
}
