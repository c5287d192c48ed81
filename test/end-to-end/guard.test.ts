/** Rules of other programs on the host: no packet to a VIP is forwarded without a mark of ours, and what is lost is reported. */
import t, { type Test } from 'tap';
import { QUEUE_MARK } from '../../host/types/marks.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { TARGETS, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { UDP } from '../fixture/packet.js';
import { wirePacket } from '../fixture/wire.js';
import { total } from '../metrics/exposition-reader.js';
import { inLoadBalancer, startDaemon, TARGET_LINES, writeConfig } from './lab.js';
import { PacketCount } from './packet-count.js';
import { sendRaw } from './raw.js';
import { judged, scrape } from './scrape.js';

const VIPS = `["${VIP[4]}/32", "${VIP[6]}/128"]`;
const BASE = 'http://127.0.0.1:9273';
const CONFIG = `
queues: "0:1"
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${VIPS}
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
streams:
  - name: a
    healthCheck: {type: icmp, interval: 1s, timeout: 1s, rise: 1, fall: 3}
    targets:
${TARGET_LINES}
flows:
  - {name: f, stream: a, priority: 1, vips: ${VIPS}}
metrics: {address: "127.0.0.1:9273"}
`;
/** Clients that nobody answers to. */
const SILENT = { 4: '198.51.100', 6: '2001:db8:ffff:' } as const;
const PACKETS = 40;

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
const inside = (script: string) => inLoadBalancer(topology, 'sh', '-ec', script);
try {
  await topology.create();
  await inside('ip route replace default via 169.254.100.150; ip -6 route replace default via 100:100::150');
  for (const { identifier } of TARGETS)
    await topology.processes.command([
      ...Topology.inside(topology.target(identifier)),
      'nft',
      `table inet sink { chain in { type filter hook prerouting priority -300;
         ip saddr ${SILENT[4]}.0/24 drop; ip6 saddr ${SILENT[6]}:/64 drop; }; }`,
    ]);
} catch (error) {
  await topology.destroy();
  throw error;
}
/** What the load balancer sends back to the gateway. */
const gateway = await PacketCount.start(topology, topology.gateway, {
  ipv4: `ip daddr ${VIP[4]}`,
  ipv6: `ip6 daddr ${VIP[6]}`,
});
let daemon = startDaemon(topology, CONFIG);
await daemon.ready();
const { carrier } = await daemon.status();
t.comment(`carrier ${carrier}`);
/** Table mangle queues at -150, nftables at 0. */
const AFTER_QUEUE = { xtables: 'dstnat', nft: 'filter + 50' } as const;

/** PACKETS datagrams of each family, and what the guard counts of them. */
async function counted(): Promise<{ readonly dropped: number; readonly left: number }> {
  const read = async () => {
    const text = await inside('nft -j list counters table inet magmark-guard');
    const objects = JSON.parse(text).nftables as { counter?: { name: string; packets: number } }[];
    const of = (name: string) => objects.find(({ counter }) => counter?.name === name)!.counter!.packets;
    return { dropped: of('ipv4-dropped') + of('ipv6-dropped'), left: of('left') };
  };
  const before = await read();
  const decided = async () => (await daemon.status()).queues.reduce((sum, each) => sum + each.packets, 0);
  const decidedBefore = await decided();
  const packets = Array.from({ length: PACKETS }, (_, n) => [
    wirePacket(UDP, `${SILENT[4]}.${n + 1}`, 1000 + n, VIP[4], 4001, [n]),
    wirePacket(UDP, `${SILENT[6]}:${(n + 1).toString(16)}`, 1000 + n, VIP[6], 4001, [n]),
  ]).flat();
  await sendRaw(topology, packets);
  await waitFor('all packets to be counted', 60_000, async () => {
    const { dropped } = await read();
    return dropped - before.dropped === packets.length || (await decided()) - decidedBefore >= packets.length;
  });
  const now = await read();
  return { dropped: now.dropped - before.dropped, left: now.left - before.left };
}

async function returned(): Promise<number> {
  const { ipv4, ipv6 } = await gateway.read();
  return ipv4 + ipv6;
}

const ALL = 2 * PACKETS;
const both = (script: (iptables: string) => string) =>
  ['iptables-nft', 'ip6tables-nft'].map(script).join('; ');

t.test('a policy of forward that drops is a warning with figures, and health sees nothing of it', async t => {
  t.same(await counted(), { dropped: 0, left: ALL }, 'each packet that is decided leaves once');
  await inside(both(iptables => `${iptables} -P FORWARD DROP`));
  const before = (await daemon.status()).passage;
  t.equal(before.lost, 0);
  const status = await waitFor('a warning', 60_000, async () => {
    t.same(await counted(), { dropped: 0, left: 0 });
    const now = await daemon.status();
    return now.passage.lost > 0 ? now : false;
  });
  t.match(status.warnings, [/^\d+ of \d+ packets to a VIP got a target's mark and did not leave this host/]);
  t.equal(status.targets.filter(({ pending }) => pending !== null).length, 0, 'all targets are healthy');
  t.ok(total(await scrape(topology, BASE), 'magmark_lost_packets_total') > 0, 'metric');
  t.match((await judged(topology, `${BASE}/readyz`)).judgement.conditions.at(-1)?.detail, /did not leave/);
  await inside(both(iptables => `${iptables} -P FORWARD ACCEPT`));
  t.same(await counted(), { dropped: 0, left: ALL });
  t.equal(await returned(), 0, 'none went back to the gateway');
});

t.test('what other programs do with their bits of the mark before the queue does no harm', async t => {
  const rows: [claim: string, add: string, remove: string][] = [
    [
      'packets with bit 0x10000 are accepted',
      both(
        iptables =>
          `${iptables} -t mangle -N C; ${iptables} -t mangle -A C -m mark --mark 0x10000/0x10000 -j ACCEPT; ${iptables} -t mangle -I PREROUTING -j C`,
      ),
      both(
        iptables =>
          `${iptables} -t mangle -D PREROUTING -j C; ${iptables} -t mangle -F C; ${iptables} -t mangle -X C`,
      ),
    ],
    ...['0x40000/0xff0000', '0xffff0000/0xffff0000', '0xe000/0xe000', '0xf80/0xf80'].map(
      (bits): [string, string, string] => [
        `bits are set: ${bits}`,
        both(iptables => `${iptables} -t mangle -I PREROUTING -j MARK --set-xmark ${bits}`),
        both(iptables => `${iptables} -t mangle -D PREROUTING -j MARK --set-xmark ${bits}`),
      ],
    ),
  ];
  rows.push([
    'a mark is changed in forward, when the route is chosen',
    "nft 'table inet other { chain f { type filter hook forward priority 0; meta mark set meta mark or 0x10000; }; }'",
    'nft delete table inet other',
  ]);
  for (const [claim, add, remove] of rows) {
    await inside(add);
    t.same(await counted(), { dropped: 0, left: ALL }, claim);
    await inside(remove);
  }
  t.equal(await returned(), 0, 'none went back to the gateway');
});

t.test(
  'a packet without a mark of ours is dropped and counted, and none goes back to the gateway',
  async t => {
    const rows: [claim: string, add: string, remove: string][] = [
      [
        'a bit is added to the mark after the queue',
        `nft 'table inet other { chain pre { type filter hook prerouting priority ${AFTER_QUEUE[carrier]}; meta mark set meta mark or 0x40000; }; }'`,
        'nft delete table inet other',
      ],
    ];
    if (carrier === 'xtables')
      rows.push([
        'packets are accepted before the rule that queues',
        both(iptables => `${iptables} -t mangle -I PREROUTING -p udp -j ACCEPT`),
        both(iptables => `${iptables} -t mangle -D PREROUTING -p udp -j ACCEPT`),
      ]);
    for (const [claim, add, remove] of rows) {
      await inside(add);
      t.same(await counted(), { dropped: ALL, left: 0 }, claim);
      await inside(remove);
      t.same(await counted(), { dropped: 0, left: ALL }, `${claim}: and not any more`);
    }
    t.equal(await returned(), 0, 'none went back to the gateway');
    const status = await waitFor('the daemon to read the counters', 60_000, async () => {
      const now = await daemon.status();
      return now.passage.dropped.ipv4 === rows.length * PACKETS ? now : false;
    });
    t.equal(status.passage.dropped.ipv6, rows.length * PACKETS);
    t.match(status.warnings.join('\n'), /packets to a VIP had none of our marks and were dropped/);
    const families = await scrape(topology, BASE);
    t.equal(
      total(families, 'magmark_guard_dropped_packets_total', { family: 'ipv4' }),
      rows.length * PACKETS,
    );
    const lines = daemon.log().filter(({ msg }) => /had none of our marks/.test(String(msg)));
    t.equal(lines.length, 1, 'one line in the log');
  },
);

type Named = readonly [script: string, undo: string, warning: RegExp];

/** Run `script`, wait until the status has the warning, run `undo`, wait until it is gone; the log has it too. */
async function expectNamed(
  t: Test,
  [script, undo, warning]: Named,
  meanwhile?: () => Promise<void>,
): Promise<void> {
  const status = async () => (await daemon.status()).warnings.join('\n');
  await inside(script);
  await waitFor(`a warning of ${script}`, 60_000, async () => warning.test(await status())).catch(
    async error => {
      throw new Error(`${error.message}: ${await status()}`, { cause: error });
    },
  );
  await meanwhile?.();
  await inside(undo);
  await waitFor(`no warning after ${undo}`, 60_000, async () => !warning.test(await status()));
  t.ok(
    daemon.log().some(line => warning.test(line.msg)),
    `${script}: it is logged`,
  );
}

t.test('rules of others that touch packets to VIPs are named, until they are gone', async t => {
  const mark = `0x${QUEUE_MARK.toString(16)}`;
  const mangle = 'iptables-nft -t mangle';
  const beforeQueue: readonly Named[] = [
    [
      `${mangle} -N C; ${mangle} -A C -m mark --mark ${mark}/${mark} -j ACCEPT; ${mangle} -I PREROUTING -j C`,
      `${mangle} -D PREROUTING -j C; ${mangle} -F C; ${mangle} -X C`,
      /table ip mangle, chain C, rule "meta mark .* accept" \(handle \d+\) accepts packets to VIPs before/,
    ],
    [
      `${mangle} -I PREROUTING -j MARK --set-xmark 0x0/0xffffffff`,
      `${mangle} -D PREROUTING -j MARK --set-xmark 0x0/0xffffffff`,
      /table ip mangle, chain PREROUTING, rule "meta mark set 0x0" .* changes the mark of packets to VIPs/,
    ],
  ];
  const afterQueue: Named = [
    "nft 'table inet other { chain pre { type filter hook prerouting priority dstnat + 150; meta mark set meta mark or 0x40000; }; }'",
    'nft delete table inet other',
    /table inet other, chain pre, rule "meta mark set .*40000" .* changes the mark of packets to VIPs/,
  ];
  // Where nftables queues, it does so after the mangle tables.
  if (carrier === 'xtables') for (const row of beforeQueue) await expectNamed(t, row);
  else for (const [add] of beforeQueue) await inside(add);
  await expectNamed(t, afterQueue, async () => {
    if (carrier === 'nft') t.notMatch((await daemon.status()).warnings.join('\n'), /table ip mangle/);
  });
  if (carrier === 'nft') for (const [, remove] of beforeQueue) await inside(remove);
  const policy = /table ip filter, chain FORWARD: its policy drops packets to VIPs/;
  const forward = (verdict: string) => `iptables-nft -P FORWARD ${verdict}`;
  await expectNamed(t, [forward('DROP'), forward('ACCEPT'), policy], async () => {
    const diff = await inside(`node ${MAGMARK} diff --json || true`);
    t.match(diff, new RegExp(`"foreign".*${policy.source}`, 's'));
  });
});

t.test("the kernel's own rules that somebody deletes are named", async t => {
  for (const [command, rule, warning] of [
    ['ip rule', 'priority 32766 lookup main', /IPv4 rule "32766: from all lookup main" is missing/],
    ['ip -6 rule', 'priority 32766 lookup main', /IPv6 rule "32766: from all lookup main" is missing/],
    ['ip rule', 'priority 0 lookup local', /IPv4 rule "0: from all lookup local" is missing/],
  ] as const)
    await expectNamed(t, [`${command} del ${rule}`, `${command} add ${rule}`, warning]);
  await waitFor('all to be well', 60_000, async () => {
    const { targets, warnings } = await daemon.status();
    return warnings.length === 0 && targets.every(({ pending }) => pending === null);
  });
  t.same(await counted(), { dropped: 0, left: ALL }, 'all is well afterwards');
});

t.test('a reload keeps the counts, and the guard goes with the daemon', async t => {
  const before = (await daemon.status()).passage.dropped;
  writeConfig(topology, CONFIG.replace('streams:\n', 'noFlowFwmark: 77\nstreams:\n'));
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.match(await inside('nft list set inet magmark-guard marks'), /0x0000004d/);
  t.same((await daemon.status()).passage.dropped, before);
  t.same(await counted(), { dropped: 0, left: ALL });
  await daemon.stop();
  t.notMatch(await inside('nft list tables'), /magmark|meridio/);
});

t.test('with markMask other programs keep their bits of the mark, whenever they set them', async t => {
  const kept = 0x41000000;
  const early = `table inet lab { chain pre { type filter hook prerouting priority -200; meta mark set ${kept}; }; `;
  const late = `chain post { type filter hook postrouting priority 0; ip daddr ${VIP[4]} meta mark & 0xffff0000 == ${kept} counter comment "kept"; ip6 daddr ${VIP[6]} meta mark & 0xffff0000 == ${kept} counter comment "kept"; }; }`;
  daemon = startDaemon(topology, `${CONFIG}markMask: 0xffff\n`);
  await daemon.ready();
  t.same(await counted(), { dropped: 0, left: ALL }, 'nobody else sets a bit');
  await inside(`nft '${early}${late}'`);
  t.same(await counted(), { dropped: 0, left: ALL }, 'bits that were set before the queue');
  const text = await inside('nft -j list chain inet lab post');
  const passed = [...text.matchAll(/"packets": (\d+)/g)].reduce(
    (sum, [, packets]) => sum + Number(packets),
    0,
  );
  t.equal(passed, ALL, 'they are still there when the packets leave');
  await inside('nft delete table inet lab');
  await inside(
    "nft 'table inet other { chain pre { type filter hook prerouting priority dstnat; meta mark set meta mark or 0x40000; }; }'",
  );
  t.same(await counted(), { dropped: 0, left: ALL }, 'a bit that is set after the queue');
  t.equal(await returned(), 0, 'none went back to the gateway');
  await inside('nft delete table inet other');
  writeConfig(topology, CONFIG);
  t.match(await daemon.reload(), {
    msg: 'reload refused',
    faults: ['markMask: 0xffffffff takes effect at the next start; it is 0xffff now'],
  });
  await daemon.stop();
  t.notMatch(await inside('nft list tables; ip rule; ip -6 rule'), /magmark|meridio|fwmark/);
});
