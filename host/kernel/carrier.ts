/**
 * The last step into the queue. Kernels differ: some lack nftables' `queue` statement but have the xtables target NFQUEUE.
 * - `nft`: the rules end in `queue to 0-3`, as in the reference;
 * - `xtables`: the rules end in the queue mark, and rules of iptables-nft in table mangle queue what bears it. The chains
 *   are before mangle (-150): after it nothing would be queued. Rules of others in mangle may add bits of their own before
 *   ours, so the rule in PREROUTING does not compare those of well-known software. The one in OUTPUT compares all: health
 *   checks pass it with the marks of targets.
 */

import type { Run } from '../programs/command.js';
import { EnvironmentError } from '../types/errors.js';
import { FOREIGN_BITS, hexadecimal, QUEUE_MARK, WHOLE_MARK } from '../types/marks.js';
import type { MarkBlock } from './marks.js';
import { setsMark } from './packet-mark.js';

export interface Queues {
  readonly first: number;
  readonly last: number;
}

/** A statement of nftables' JSON form (libnftables-json(5)). */
export type Statement = Readonly<Record<string, unknown>>;

export interface MangleRule {
  readonly chain: 'PREROUTING' | 'OUTPUT';
  /** What stands behind `-A CHAIN`, as iptables-nft-save prints it. */
  readonly text: string;
}

export interface Carrier {
  readonly name: 'nft' | 'xtables';
  /** Priority of the chains nfqlb and nfqlb-local. */
  readonly chainPriority: number;
  /** What the rule of table mangle compares that queues forwarded packets; null: the chains queue themselves. */
  queueMatch(mark: MarkBlock): MarkBlock | null;
  /** What ends the rules of these chains. @param mark queueMark under markMask */
  steer(queues: Queues, mark: MarkBlock): Statement;
  /** Rules for the mangle table of each family. */
  mangleRules(queues: Queues, mark: MarkBlock): readonly MangleRule[];
}

export const NFT_CARRIER: Carrier = {
  name: 'nft',
  chainPriority: 0,
  queueMatch: () => null,
  steer: ({ first, last }) => ({ queue: { num: first === last ? first : { range: [first, last] } } }),
  mangleRules: () => [],
};

export const XTABLES_CARRIER: Carrier = {
  name: 'xtables',
  chainPriority: -151,
  queueMatch: mark => ({ value: mark.value, mask: comparedBits(mark) }),
  steer: (_, mark) => setsMark(mark),
  mangleRules: ({ first, last }, mark) => {
    const queue = first === last ? `--queue-num ${first}` : `--queue-balance ${first}:${last}`;
    const rule = (compared: string) => `-m mark --mark ${compared} -j NFQUEUE ${queue}`;
    const value = hexadecimal(mark.value);
    return [
      { chain: 'PREROUTING', text: rule(`${value}/${hexadecimal(comparedBits(mark))}`) },
      {
        chain: 'OUTPUT',
        text: rule(mark.mask === WHOLE_MARK ? value : `${value}/${hexadecimal(mark.mask)}`),
      },
    ];
  },
};

/** Others may add the rest of the bits before our rule. */
function comparedBits({ value, mask }: MarkBlock): number {
  return ((~FOREIGN_BITS & mask) | value) >>> 0;
}

/** Any queues do: the kernel checks the statement, and nothing is committed. */
const PROBE_QUEUES: Queues = { first: 0, last: 1 };
const PROBE_MARK: MarkBlock = { value: QUEUE_MARK, mask: WHOLE_MARK };

/**
 * The carrier that this kernel has, the reference's own if it can. Dry runs: nothing changes.
 * @throws EnvironmentError with the kernel's answer for each
 */
export async function probeCarrier(run: Run): Promise<Carrier> {
  const nft = await probeNft(run);
  if (nft === null) {
    return NFT_CARRIER;
  }
  const xtables = await probeXtables(run);
  if (xtables === null) {
    return XTABLES_CARRIER;
  }
  throw new EnvironmentError(
    `the kernel cannot queue packets to this process; nftables queue: ${nft}; xtables NFQUEUE: ${xtables}`,
  );
}

/** null, or what was answered. */
async function probeNft(run: Run): Promise<string | null> {
  const place = { family: 'inet', table: 'magmark-probe' };
  const commands = [
    { add: { table: { family: place.family, name: place.table } } },
    { add: { chain: { ...place, name: 'probe' } } },
    { add: { rule: { ...place, chain: 'probe', expr: [NFT_CARRIER.steer(PROBE_QUEUES, PROBE_MARK)] } } },
  ];
  const input = JSON.stringify({ nftables: commands });
  const result = await run('nft', ['-c', '-j', '-f', '-'], { input, allowFailure: true });
  return result.exitCode === 0 ? null : firstLine(result.stderr);
}

async function probeXtables(run: Run): Promise<string | null> {
  const rules = XTABLES_CARRIER.mangleRules(PROBE_QUEUES, PROBE_MARK).map(
    rule => `-A ${rule.chain} ${rule.text}`,
  );
  const input = `${['*mangle', ...rules, 'COMMIT'].join('\n')}\n`;
  const args = ['--noflush', '--test'];
  try {
    const result = await run('iptables-nft-restore', args, { input, allowFailure: true });
    // With --test a target that the kernel lacks is a warning only, and the exit code is 0.
    const refused = result.exitCode !== 0 || result.stderr.includes('not supported');
    return refused ? firstLine(result.stderr) : null;
  } catch (error) {
    if (error instanceof EnvironmentError) {
      return error.message;
    }
    throw error;
  }
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] || 'refused without a reason';
}
