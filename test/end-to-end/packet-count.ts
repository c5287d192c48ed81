/** Counting packets in a namespace by rules of nft, in a table of the test's own. */
import type { Processes } from '../../scripts/lab/processes.js';
import { Topology } from '../../scripts/lab/topology.js';

const TABLE = 'inet test-count';
const HOOKS = [
  { at: 'in', hook: 'prerouting' },
  { at: 'out', hook: 'output' },
] as const;

export interface CountRule {
  readonly match: string;
  /** Packets that come in, or that are sent from here. */
  readonly at: 'in' | 'out';
  readonly verdict: 'continue' | 'drop';
}

/** A text alone is what it matches of the packets that come in. */
const wholeRule = (rule: string | CountRule): CountRule =>
  typeof rule === 'string' ? { match: rule, at: 'in', verdict: 'continue' } : rule;

interface ListedRule {
  readonly rule?: {
    readonly comment?: string;
    readonly expr: readonly { readonly counter?: { readonly packets: number } }[];
  };
}

export class PacketCount<Name extends string> {
  private constructor(
    private readonly processes: Processes,
    private readonly namespace: string,
    private readonly names: readonly Name[],
  ) {}

  /** @param rules by name */
  static async start<Name extends string>(
    { processes }: Topology,
    namespace: string,
    rules: Readonly<Record<Name, string | CountRule>>,
  ): Promise<PacketCount<Name>> {
    const names = Object.keys(rules) as Name[];
    const whole = names.map(name => ({ name, ...wholeRule(rules[name]) }));
    const chain = ({ at, hook }: (typeof HOOKS)[number]): string => {
      const lines = whole
        .filter(rule => rule.at === at)
        .map(({ name, match, verdict }) => `${match} counter ${verdict} comment "${name}"`);
      return ['chain', at, '{', [`type filter hook ${hook} priority -400`, ...lines].join('\n'), '\n}'].join(
        ' ',
      );
    };
    const input = `table ${TABLE} {\n${HOOKS.map(chain).join('\n')}\n}\n`;
    await processes.command([...Topology.inside(namespace), 'nft', '-f', '-'], { input });
    return new PacketCount(processes, namespace, names);
  }

  /** Packets since the start. */
  async read(): Promise<Record<Name, number>> {
    const argv = ['nft', '-j', 'list', 'table', ...TABLE.split(' ')];
    const { stdout } = await this.processes.command([...Topology.inside(this.namespace), ...argv]);
    const rules = (JSON.parse(stdout) as { nftables: readonly ListedRule[] }).nftables.flatMap(
      ({ rule }) => rule ?? [],
    );
    const count = (name: Name): number =>
      rules
        .filter(({ comment }) => comment === name)
        .flatMap(({ expr }) => expr)
        .reduce((sum, { counter }) => sum + (counter?.packets ?? 0), 0);
    return Object.fromEntries(this.names.map(name => [name, count(name)])) as Record<Name, number>;
  }
}
