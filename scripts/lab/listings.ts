/** The commands of the reference document, for the load balancer of a topology. */
import { existsSync } from 'node:fs';
import { RUN_DIRECTORY } from '../../host/control/socket.js';
import { type LabDaemon, NFQLB } from './daemon.js';
import { CONDUITS, TARGETS } from './plan.js';
import type { CommandResult } from './processes.js';
import { Topology } from './topology.js';

export interface Listing {
  readonly title: string;
  /** To be run inside the load balancer's namespace. */
  readonly argv: readonly string[];
}

/** Routing table of gateways, as the reference document has it. */
const EGRESS_TABLE = '4096';
export const FWMARK_OFFSET = 5000;

const targetTables = [...TARGETS]
  .map(each => `${FWMARK_OFFSET + each.identifier}`)
  .sort((a, b) => b.localeCompare(a));

/** Of the daemon's BIRD, for a shell in the namespace. */
const BIRD_SOCKET = `${RUN_DIRECTORY}/net-$(stat -Lc %i /proc/self/ns/net).bird/bird.ctl`;

/** In the order of the document. */
export const LISTINGS: readonly Listing[] = [
  { title: 'nftables', argv: ['nft', 'list', 'ruleset'] },
  {
    title: 'nftables without nft',
    argv: ['sh', '-c', 'cat /run/magmark/net-$(stat -Lc %i /proc/self/ns/net).nft'],
  },
  { title: 'queues that somebody listens on', argv: ['cat', '/proc/net/netfilter/nfnetlink_queue'] },
  { title: 'flows', argv: ['node', NFQLB, 'flow-list'] },
  { title: 'targets of stream-a-i', argv: ['node', NFQLB, 'show', '--shm=tshm-stream-a-i'] },
  { title: 'IPv4 rules', argv: ['ip', 'rule'] },
  ...targetTables.map(table => ({
    title: `IPv4 table ${table}`,
    argv: ['ip', 'route', 'show', 'table', table],
  })),
  { title: 'IPv6 rules', argv: ['ip', '-6', 'rule'] },
  ...targetTables.map(table => ({
    title: `IPv6 table ${table}`,
    argv: ['ip', '-6', 'route', 'show', 'table', table],
  })),
  ...CONDUITS.map(({ name }) => ({ title: `interface ${name}`, argv: ['ip', 'a', 'show', 'dev', name] })),
  { title: 'IPv4 gateways', argv: ['ip', 'route', 'show', 'table', EGRESS_TABLE] },
  { title: 'IPv6 gateways', argv: ['ip', '-6', 'route', 'show', 'table', EGRESS_TABLE] },
  { title: 'BIRD', argv: ['sh', '-c', `birdc -s ${BIRD_SOCKET} show protocols`] },
  { title: 'BFD', argv: ['sh', '-c', `birdc -s ${BIRD_SOCKET} show bfd sessions`] },
  { title: 'IPv4 neighbours', argv: ['cat', '/proc/net/arp'] },
  { title: 'IPv6 neighbours', argv: ['ip', '-6', 'neighbour'] },
];

export function runListing(topology: Topology, daemon: LabDaemon, { argv }: Listing): Promise<CommandResult> {
  // The kernel's are the same seen from everywhere; the daemon and its BIRD are asked where they are.
  const asks = argv[0] === 'node' || argv[0] === 'sh';
  return topology.processes.command(
    asks ? daemon.housing.ask(argv) : [...Topology.inside(topology.loadBalancer), ...argv],
  );
}

/** Lines for a shell, ready to paste: the listings, and commands that send something or watch. */
export function pasteableCommands(topology: Topology): string[] {
  const inside = Topology.inside(topology.loadBalancer);
  const words = LISTINGS.map(({ argv }) => [...inside, ...argv]);
  const capture = [...inside, 'tcpdump', '-nn', '-i', 'any', 'port', '4000'];
  const hasTcpdump = ['/usr/bin/tcpdump', '/usr/sbin/tcpdump'].some(path => existsSync(path));
  return [...words, ...(hasTcpdump ? [capture] : [])].map(argv => argv.map(quoted).join(' '));
}

const quoted = (word: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** The 25 slots that `nfqlb show` prints; empty if it prints none. */
export function lookupOf(show: string): number[] {
  const line = /^\s*Lookup: ([-0-9 ]+)\.\.\.$/m.exec(show)?.[1];
  return line === undefined ? [] : line.trim().split(' ').map(Number);
}

/** What stands in the kernel's rules, tables and firewall of a namespace, for comparing before with after. */
export async function kernelState(topology: Topology): Promise<string> {
  const script = [
    'nft list ruleset',
    'ip rule',
    'ip -6 rule',
    // Routes of tables with numbers; those of main and local belong to links and addresses.
    "ip route show table all | grep -E ' table [0-9]+' || true",
    "ip -6 route show table all | grep -E ' table [0-9]+' || true",
  ];
  const argv = [...Topology.inside(topology.loadBalancer), 'sh', '-ec', script.join('\n')];
  return (await topology.processes.command(argv)).stdout;
}
