/** Counting packets in a namespace by rules of nft, in a table of the test's own. */
import type { Processes } from '../../scripts/lab/processes.js';
import { Topology } from '../../scripts/lab/topology.js';

const TABLE = 'inet test-count';

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

  /**
   * @param rules by name, what they match of the packets that come in
   * @param verdict on those
   */
  static async start<Name extends string>(
    { processes }: Topology,
    namespace: string,
    rules: Readonly<Record<Name, string>>,
    verdict: 'continue' | 'drop' = 'continue',
  ): Promise<PacketCount<Name>> {
    const names = Object.keys(rules) as Name[];
    const lines = names.map(name => `${rules[name]} counter ${verdict} comment "${name}"`);
    const chain = ['type filter hook prerouting priority -400', ...lines].join('\n');
    const input = `table ${TABLE} {\nchain in {\n${chain}\n}\n}\n`;
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
