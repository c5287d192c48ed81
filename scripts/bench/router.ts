/** Namespaces for `rules.ts`: a sender, a sink, and routers between them that know targets as the daemon would have them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { markTree, type TreeShape } from '../../host/kernel/mark-tree.js';
import { markBlocks } from '../../host/kernel/marks.js';
import type { Family } from '../../host/types/config.js';

const SOURCE = fileURLToPath(new URL('../../../scripts/bench/forward.c', import.meta.url));
const ROUTER_MAC = '02:00:00:00:00:01';
/** Nobody's: the sink drops at once what it gets. */
const TARGET_MAC = '02:00:00:00:00:99';
const FIRST_MARK = 5001;
/** Tables that share one place in the kernel's hash of 256 have the same number modulo that. */
const HASH_PLACES = 256;
const WORD_BYTES = 64 * 1024 * 1024;

const ADDRESSES = {
  4: {
    vip: '20.0.0.1/32',
    router: '10.0.0.1/24',
    client: '10.0.0.2',
    out: '10.0.1.1/24',
    target: '10.0.1.2',
  },
  6: {
    vip: '2000::1/128',
    router: 'fd00:1::1/64',
    client: 'fd00:1::2',
    out: 'fd00:2::1/64',
    target: 'fd00:2::2',
  },
} as const;

export interface Layout {
  readonly targets: number;
  /** Null: the plain list. */
  readonly tree: TreeShape | null;
  /** As few tables as places in the kernel's hash of them, so that rules alone are measured. */
  readonly fewTables: boolean;
}

export class Range {
  private readonly folder = mkdtempSync(join(tmpdir(), 'magmark-bench-'));
  private count = 0;

  constructor() {
    execFileSync('cc', ['-O2', '-D_GNU_SOURCE', '-std=gnu11', '-Wall', '-o', this.program, SOURCE]);
    command(
      'mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip netns add sender && ip netns add sink',
    );
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** @returns its number, for `send` */
  addRouter(layout: Layout): number {
    const index = this.count++;
    const router = `router${index}`;
    command(`
      ip netns add ${router}
      ip link add link${index} netns sender type veth peer name in address ${ROUTER_MAC} netns ${router}
      ip link add out netns ${router} type veth peer name link${index} netns sink
      for name in sender sink; do
        ip netns exec $name sysctl -qw net.ipv6.conf.link${index}.disable_ipv6=1
        ip -n $name link set link${index} up
      done
      ip -n ${router} link set lo up; ip -n ${router} link set in up; ip -n ${router} link set out up
      ip netns exec ${router} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
        net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.in.rp_filter=0 net.ipv4.conf.default.rp_filter=0
      ip netns exec ${router} nft -f - <<END
        add table inet marking
        add chain inet marking marking { type filter hook prerouting priority mangle; }
        add rule inet marking marking iifname in meta mark set numgen random mod ${layout.targets} offset ${FIRST_MARK}
END`);
    for (const family of [4, 6] as const) {
      const { router: own, out, client, target } = ADDRESSES[family];
      const lines = [
        `address add ${own} dev in${family === 6 ? ' nodad' : ''}`,
        `address add ${out} dev out${family === 6 ? ' nodad' : ''}`,
        `neigh add ${client} lladdr ${TARGET_MAC} dev in`,
        `neigh add ${target} lladdr ${TARGET_MAC} dev out`,
        ...routingLines(family, layout),
      ];
      const input = lines.map(line => `${line}\n`).join('');
      execFileSync('ip', ['-n', router, `-${family}`, '-batch', '-'], { input, maxBuffer: WORD_BYTES });
    }
    return index;
  }

  /** @returns packets that went through, by the second */
  send(router: number, family: Family, milliseconds: number): number {
    const before = this.received(router);
    const words = [`link${router}`, ROUTER_MAC, String(family), String(milliseconds)];
    execFileSync('ip', ['netns', 'exec', 'sender', this.program, ...words]);
    return (this.received(router) - before) / (milliseconds / 1000);
  }

  private get program(): string {
    return join(this.folder, 'forward');
  }

  private received(router: number): number {
    const [link] = JSON.parse(command(`ip -n sink -j -s link show link${router}`)) as {
      stats64: { rx: { packets: number } };
    }[];
    return link!.stats64.rx.packets;
  }
}

/** As `wantedRouting` has them, with one next hop for all targets: what it costs to have many is not the rules' doing. */
function routingLines(family: Family, { targets, tree, fewTables }: Layout): string[] {
  const { vip, client, target } = ADDRESSES[family];
  const range = { first: FIRST_MARK, last: FIRST_MARK + targets - 1 };
  const marks = Array.from({ length: targets }, (_, index) => FIRST_MARK + index);
  const tableOf = (mark: number): number => (fewTables ? FIRST_MARK + (mark % HASH_PLACES) : mark);
  const list = marks.map((mark, index) => ({
    priority: Math.max(99 - index, 1),
    fwmark: { value: mark, mask: 2 ** 32 - 1 },
    table: mark,
    goto: undefined,
    unreachable: undefined,
  }));
  const rules = tree === null ? list : markTree(marks, [range], tree);
  const tables = [...new Set(marks.map(tableOf))];
  return [
    ...markBlocks(range).map(({ value, mask }) => `rule add priority 102 fwmark ${value}/${mask} blackhole`),
    `rule add priority 100 from ${vip} lookup 4096`,
    `rule add priority 101 from ${vip} lookup 4097`,
    ...rules.map(({ priority, fwmark, table, goto, unreachable }) => {
      const mark = fwmark === null ? '' : ` fwmark ${fwmark.value}/${fwmark.mask}`;
      const otherwise = goto !== undefined ? `goto ${goto}` : unreachable ? 'unreachable' : 'blackhole';
      return `rule add priority ${priority}${mark} ${table === null ? otherwise : `lookup ${tableOf(table)}`}`;
    }),
    // Behind the rules: each rule of IPv6 that comes makes the kernel walk all tables.
    `route add default via ${client} table 4096`,
    ...tables.map(table => `route add default via ${target} table ${table}`),
  ];
}

function command(script: string): string {
  return execFileSync('sh', ['-ec', script], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
