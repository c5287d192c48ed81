/** What others remove or change of the daemon's is mended, and what is not the daemon's is left as it is. */
import t, { type Test } from 'tap';
import type { LabDaemon, LogLine } from '../../scripts/lab/daemon.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { UDP_PORT, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { comparableState, configFile, connectionsTo, inLoadBalancer, startDaemon, startLab } from './lab.js';

/** What is promised, on an idle machine. */
const MENDED_MS = 1000;

const VIPS = `["20.0.0.1/32", "2000::1/128"]`;
const CONFIG = `
queues: 0
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${VIPS}
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}
portNats:
  - {port: 80, targetPort: 4000, protocol: tcp, vips: ${VIPS}}
streams:
  - name: a
    targets:
      - {identifier: 69, ips: [172.16.0.6, "fd00::6"]}
      - {identifier: 62, ips: [172.16.0.8, "fd00::8"]}
      - {identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}
      - {identifier: 73, ips: [172.16.1.8, "fd00:0:0:1::8"]}
flows:
  - {name: f, stream: a, priority: 1, vips: ${VIPS}}
`;

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const { topology, clients } = await startLab(t);
const inside = (script: string) => inLoadBalancer(topology, 'sh', '-ec', script);
const state = () => comparableState(topology);

/** Names that begin with a digit are for nft's JSON alone. */
const nftJson = (...commands: object[]) => `echo '${JSON.stringify({ nftables: commands })}' | nft -j -f -`;
const natChain = { family: 'inet', table: 'meridio-nat', name: '80-4000-TCP' };
const nfqlbChain = { family: 'inet', table: 'meridio-nfqlb', chain: 'nfqlb' };

/** Each kind of thing that somebody can remove or change. */
const DAMAGES: readonly (readonly [claim: string, script: string])[] = [
  ["a target's rule is deleted", 'ip rule del fwmark 5044 lookup 5044'],
  ["a target's IPv6 rule is deleted", 'ip -6 rule del fwmark 5044 lookup 5044'],
  ["a target's route is deleted", 'ip route del default table 5044'],
  ["a target's IPv6 route is deleted", 'ip -6 route del default table 5044'],
  ["a target's route leads to another", 'ip route replace default via 172.16.1.8 table 5044'],
  ["a target's IPv6 route leads to another", 'ip -6 route replace default via fd00:0:0:1::8 table 5044'],
  [
    "a target's route leads into another interface",
    'ip route replace default via 172.16.1.6 dev ext-vlan0 onlink table 5044',
  ],
  ["a target's route bears a path MTU", 'ip route replace default via 172.16.1.6 mtu 900 table 5044'],
  ["a target's route is a dead end", 'ip route replace unreachable default table 5044'],
  [
    'the rule of answers from a VIP is deleted',
    'ip rule del priority 100 from 20.0.0.1; ip -6 rule del priority 100',
  ],
  ['the end of egress is deleted', 'ip rule del priority 101; ip route del blackhole default table 4097'],
  ["the end of marks' rules is deleted", 'ip rule del priority 102; ip -6 rule del priority 102'],
  ['the rule of hairpins is deleted', 'ip rule del priority 1'],
  [
    'all rules and routes are flushed',
    'for f in 4 6; do ip -$f route flush table 5044; ip -$f route flush table 5069; done',
  ],
  ['a VIP is taken out of the set', 'nft delete element inet meridio-nfqlb ipv4-vips { 20.0.0.1 }'],
  ['a stranger is put into the set', 'nft add element inet meridio-nfqlb ipv6-vips { 2000::99 }'],
  ['the rules that steer are flushed', 'nft flush chain inet meridio-nfqlb nfqlb'],
  [
    'a rule is put before those that steer',
    nftJson({ insert: { rule: { ...nfqlbChain, expr: [{ drop: null }] } } }),
  ],
  [
    'the chain that steers is deleted',
    'nft flush chain inet meridio-nfqlb nfqlb; nft delete chain inet meridio-nfqlb nfqlb',
  ],
  ['the guard is opened', 'nft flush chain inet magmark-guard forward'],
  ['a mark is put into the guard', 'nft add element inet magmark-guard marks { 99 }'],
  ['the chain of port NAT is emptied', nftJson({ flush: { chain: natChain } })],
  ['the set of port NAT is emptied', nftJson({ flush: { set: { ...natChain, name: '80-4000-TCP-ipv4' } } })],
  [
    'the tables are deleted, one by one',
    'for name in nfqlb nat defrag snat-local; do nft delete table inet meridio-$name; done; nft delete table inet magmark-guard',
  ],
  ['the whole ruleset is flushed', 'nft flush ruleset'],
  ['a table is put to sleep', "nft add table inet meridio-nfqlb '{ flags dormant; }'"],
  ['the rules of the mangle tables are flushed', 'iptables-nft -t mangle -F; ip6tables-nft -t mangle -F'],
  ['the mangle table is deleted', 'nft delete table ip mangle'],
  ['forwarding is switched off', 'echo 0 >/proc/sys/net/ipv4/ip_forward'],
  ['forwarding of IPv6 is switched off', 'echo 0 >/proc/sys/net/ipv6/conf/all/forwarding'],
  ['the source filter is switched on', 'echo 1 >/proc/sys/net/ipv4/conf/ext-vlan0/rp_filter'],
];

const SETTINGS =
  'for s in ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/ext-vlan0/rp_filter ipv4/fwmark_reflect; do cat /proc/sys/net/$s; done';

const mendings = (daemon: LabDaemon): LogLine[] =>
  daemon.log().filter(line => line.msg === 'mended what others changed');

/** Repairs so far. The log does not tell: it collapses lines that repeat. */
const repairsOf = async (daemon: LabDaemon) => (await daemon.status()).repairs;

/** Do damage, and wait until it is repaired. @returns ms from the damage to the repair */
async function mended(daemon: LabDaemon, script: string): Promise<number> {
  const before = (await repairsOf(daemon)).count;
  const from = Date.now();
  await inside(script);
  const { lastAt } = await waitFor(`${script} to be mended`, 20_000, async () => {
    const repairs = await repairsOf(daemon);
    return repairs.count > before ? repairs : null;
  }).catch(error => {
    throw new Error(`${error.message}\n${daemon.logTail()}\n`, { cause: error });
  });
  return Date.parse(String(lastAt)) - from;
}

/** A look that is under way, or comes after our own changes, has ended: nothing more is mended by itself. */
async function untilQuiet(daemon: LabDaemon, wanted: string, settings: string): Promise<void> {
  await waitFor('everything to be as it was', 20_000, async () => {
    const { count } = await repairsOf(daemon);
    return (
      (await state()) === wanted &&
      (await inside(SETTINGS)) === settings &&
      (await repairsOf(daemon)).count === count
    );
  }).catch(async () => t.equal(`${await state()}${await inside(SETTINGS)}`, `${wanted}${settings}`));
}

/** Datagrams to the VIPs, one batch after the other, until `end`: how many were sent, and how many got no answer. */
async function stream(end: () => boolean): Promise<{ sent: number; lost: number }> {
  let [sent, lost] = [0, 0];
  for (let port = 20000; !end(); port += 16) {
    const family = port % 32 === 0 ? 4 : 6;
    const results = await clients.datagrams(
      connectionsTo(family, [VIP[family]], 16, 20000 + (port % 20000), UDP_PORT),
      100,
    );
    sent += results.length;
    lost += results.filter(result => 'error' in result).length;
  }
  return { sent, lost };
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

async function within(t: Test, claim: string, milliseconds: readonly number[]): Promise<void> {
  const limit = MENDED_MS * (await leeway());
  const [middle, worst] = [median(milliseconds), Math.max(...milliseconds)];
  t.ok(worst < limit, `${claim}: median ${middle} ms, worst ${worst} ms of ${Math.round(limit)}`);
}

/** What others have in this namespace, also near our numbers. */
const FOREIGN = `
  ip rule add priority 50 fwmark 0x99 lookup 77
  ip rule add priority 100 from 198.51.100.1 lookup 77
  ip -6 rule add priority 200 from 2001:db8:99::/64 lookup 78
  ip route add default via 172.16.0.6 table 77
  ip -6 route add default via fd00::6 table 78
  nft add table inet theirs
  nft add chain inet theirs prerouting '{ type filter hook prerouting priority -500; }'
  nft add rule inet theirs prerouting ip daddr 203.0.113.1 counter drop
  nft add table ip6 meridio-nfqlb
  iptables-nft -t mangle -A PREROUTING -d 203.0.113.2 -j MARK --set-mark 7
  iptables-nft -t mangle -A OUTPUT -d 203.0.113.2 -j MARK --set-mark 7
  iptables-nft -t filter -A FORWARD -d 203.0.113.3 -j DROP`;
/** What the damage to the mangle tables takes of theirs. */
const MANGLE = `for chain in PREROUTING OUTPUT; do
  iptables-nft -t mangle -A $chain -d 203.0.113.2 -j MARK --set-mark 7
done`;
const FOREIGN_LEFT =
  'ip rule | grep -E "lookup 7[78]"; ip -6 rule | grep "lookup 78"; ip route show table 77; ip -6 route show table 78; ' +
  'nft list table inet theirs; nft list table ip6 meridio-nfqlb; iptables-nft-save | grep 203.0.113; ip route; ip -6 route';

t.test('what others remove or change is mended, logged and counted; what is theirs stays', async t => {
  await inside(FOREIGN);
  const theirs = await inside(FOREIGN_LEFT);
  const pristine = await state();
  const daemon = startDaemon(topology, CONFIG);
  await daemon.ready();
  await waitFor('BIRD to fill its table', 60_000, async () => /table 4096/.test(await state()));
  const [whole, settings] = [await state(), await inside(SETTINGS)];
  const carrier = (await daemon.status()).carrier;
  const times: number[] = [];
  let count = (await daemon.status()).repairs.count;
  for (const [claim, script] of DAMAGES) {
    if (carrier === 'nft' && script.includes('mangle')) continue;
    const isRuleset = script === 'nft flush ruleset';
    const milliseconds = await mended(daemon, script);
    // The ruleset of others is theirs to bring back.
    if (isRuleset)
      await inside(
        FOREIGN.replace(/^.* (rule add|route add) .*$/gm, match => (/nft|-t/.test(match) ? match : '')),
      );
    if (!isRuleset && /mangle$|mangle -F/.test(script)) await inside(MANGLE);
    times.push(milliseconds);
    await untilQuiet(daemon, whole, settings);
    const { repairs } = await daemon.status();
    t.ok(repairs.count > count, `${claim}: mended in ${milliseconds} ms`);
    count = repairs.count;
  }
  t.equal(await inside(FOREIGN_LEFT), theirs, 'what others have stands as it was');
  t.notMatch(
    (await daemon.status()).warnings.join('\n'),
    /VIPs/,
    'none of it is named: it touches no packet to a VIP',
  );
  await within(t, 'mended', times);

  await t.test('all rules are flushed: ours come back, those of the system are not ours', async t => {
    const milliseconds = await mended(daemon, 'ip rule flush; ip -6 rule flush');
    const rules = await inside('ip rule; ip -6 rule');
    t.notMatch(rules, /lookup main\s*$.*32766|lookup 7[78]/m);
    const warnings = (await daemon.status()).warnings.join('\n');
    for (const family of [4, 6])
      t.match(warnings, `IPv${family} rule "32766: from all lookup main" is missing`);
    t.notMatch(warnings, /main has no route to VIP/, 'main has one');
    await inside(`for f in 4 6; do ip -$f rule add priority 32766 lookup main; done
      ip rule add priority 32767 lookup default`);
    await inside(
      FOREIGN.split('\n')
        .filter(line => line.includes('rule add priority'))
        .join('\n'),
    );
    await untilQuiet(daemon, whole, settings);
    t.pass(`mended in ${milliseconds} ms`);
  });

  await t.test('what somebody removes again and again is a warning', async t => {
    const warning = /another program removes or changes ip -4 rule add .* lookup 5044 again and again/;
    await waitFor('a warning', 120_000, async () => {
      await mended(daemon, 'ip rule del fwmark 5044 lookup 5044');
      return warning.test((await daemon.status()).warnings.join('\n'));
    });
    t.ok(
      daemon.log().some(line => warning.test(line.msg)),
      'it is logged too',
    );
    await untilQuiet(daemon, whole, settings);
  });

  await t.test('a setting of which the kernel tells nobody is mended with the next look', async t => {
    await inside('echo 0 >/proc/sys/net/ipv4/fwmark_reflect');
    await mended(daemon, 'ip rule del fwmark 5044 lookup 5044');
    await untilQuiet(daemon, whole, settings);
    t.ok(mendings(daemon).some(line => JSON.stringify(line.mended).includes('fwmark_reflect')));
  });

  await t.test('neighbour entries that are deleted or wrong are asked for', async t => {
    const entry = async (address: string) =>
      (await inside(`ip neigh show ${address}`)).match(/lladdr (\S+)/)?.[1];
    const rightly: number[] = [];
    for (const address of ['172.16.0.6', 'fd00::6']) {
      const right = await waitFor('the entry', 60_000, () => entry(address));
      for (const script of [
        `ip neigh del ${address} dev conduit-a--d7c4`,
        `ip neigh replace ${address} dev conduit-a--d7c4 lladdr 02:00:00:00:00:01 nud reachable`,
      ]) {
        const before = (await daemon.status()).repairs.count;
        const from = performance.now();
        await inside(script);
        await waitFor(`${script} to be mended`, 20_000, async () => (await entry(address)) === right);
        rightly.push(Math.round(performance.now() - from));
        await waitFor('it to be counted', 20_000, async () => (await daemon.status()).repairs.count > before);
      }
    }
    await within(t, 'neighbours', rightly);
    await untilQuiet(daemon, whole, settings);
  });

  await t.test('traffic meanwhile: what meets the gap is lost, nothing else', async t => {
    const rows: [string, string][] = [
      ['nothing is damaged', ':'],
      ["a target's rule", 'ip rule del fwmark 5044 lookup 5044; ip -6 rule del fwmark 5044 lookup 5044'],
      ["a target's route", 'ip route del default table 5044; ip -6 route del default table 5044'],
      ['the rules that steer', 'nft flush chain inet meridio-nfqlb nfqlb'],
      ['a table', 'nft delete table inet meridio-nfqlb'],
    ];
    for (const [claim, script] of rows) {
      let done = false;
      const running = stream(() => done);
      const gaps: number[] = [];
      for (let round = 0; round < 3 && script !== ':'; round++) {
        gaps.push(await mended(daemon, script));
        await untilQuiet(daemon, whole, settings);
      }
      if (script === ':')
        await waitFor('some traffic', 60_000, async () => (await stream(() => true)).sent === 0);
      done = true;
      const { sent, lost } = await running;
      t.comment(`${claim}: ${sent} datagrams, ${lost} lost; gaps of ${gaps.join(', ')} ms`);
      t.ok(lost <= sent / 2 && (script !== ':' || lost === 0), `${claim}: ${lost} of ${sent} lost`);
    }
    const after = await clients.datagrams(connectionsTo(4, [VIP[4]], 40, 40000, UDP_PORT), 100);
    t.ok(
      after.every(result => 'identifier' in result),
      'all is well afterwards',
    );
  });

  await t.test('what comes later to our numbers is told and left alone', async t => {
    const rows = [
      ['rule add priority 5 fwmark 5044 lookup 77', 'rule del priority 5', /takes marks of ours/],
      [
        'rule add priority 6 from 198.51.100.7 lookup 5044',
        'rule del priority 6',
        /looks up a target's table/,
      ],
      [
        'route replace default via 172.16.1.8 table 5044 proto static',
        'route del default table 5044',
        /5044 already holds/,
      ],
      [
        'route add 203.0.113.0/24 via 172.16.1.8 table 5044',
        'route del 203.0.113.0/24 table 5044',
        /5044 holds a route to 203.0.113.0.24 that this daemon did not make/,
      ],
      [
        'route add default via 169.254.100.150 table 4096 metric 5',
        'route del default table 4096 metric 5',
        /4096 already holds/,
      ],
    ] as const;
    for (const [add, remove, warning] of rows) {
      await inside(`ip ${add}`);
      await waitFor(`a warning of ${add}`, 60_000, async () =>
        warning.test((await daemon.status()).warnings.join('\n')),
      );
      const standing = await state();
      t.not(standing, whole, add);
      if (add.includes('route replace')) {
        t.match(standing, /default via 172\.16\.1\.8 dev \S+ table 5044 proto static/);
        t.match(
          (await daemon.status()).targets.find(target => target.fwmark === 5044)?.pending,
          /already holds/,
        );
      }
      await inside(`ip ${remove}`);
      await untilQuiet(daemon, whole, settings);
      await waitFor(
        'no warning',
        10_000,
        async () => !warning.test((await daemon.status()).warnings.join('\n')),
      );
    }
  });

  t.equal((await daemon.stop()).code, 0);
  t.equal(await state(), pristine, 'a stop leaves what others have');
});

t.test('what stands at our numbers before is refused, by name', async t => {
  const rows = [
    [
      'ip route add default via 172.16.0.6 table 5044',
      'ip route del default table 5044',
      /table 5044 already holds/,
    ],
    [
      'ip route add 203.0.113.0/24 via 172.16.0.6 table 5044',
      'ip route del 203.0.113.0/24 table 5044',
      /table 5044 holds a route to 203.0.113.0.24 that/,
    ],
    ['ip -6 rule add priority 7 lookup 5044', 'ip -6 rule del priority 7', /looks up a target's table/],
    ['ip rule add priority 8 fwmark 5001/0xfff lookup 77', 'ip rule del priority 8', /takes marks of ours/],
    ['nft add table inet meridio-nat', 'nft delete table inet meridio-nat', /meridio-nat stands/],
    [
      'ip route add default via 172.16.0.6 table 4097',
      'ip route del default table 4097',
      /4097 already holds/,
    ],
  ] as const;
  for (const [add, remove, message] of rows) {
    await inside(add);
    const before = await state();
    const argv = ['node', MAGMARK, 'run', '--config', configFile(topology)];
    const { code, stderr } = await topology.processes.command(
      [...Topology.inside(topology.loadBalancer), ...argv],
      { mayFail: true },
    );
    t.not(code, 0, add);
    t.match(stderr, message);
    t.equal(await state(), before, 'and nothing was changed');
    await inside(remove);
  }
});
