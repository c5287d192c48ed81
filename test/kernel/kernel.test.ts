/** The room's door against the real kernel, in namespaces of this file's own. */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type AddOptions, Kernel } from '../../host/kernel/kernel.js';
import type { WantedKernel } from '../../host/kernel/wanted.js';
import type { Difference } from '../../host/types/difference.js';
import { ClashError } from '../../host/types/errors.js';
import { leeway } from '../../scripts/lab/wait.js';
import { EXAMPLE, target } from './example.js';
import { addAddresses, insideNamespace, makeInterfaces, shell } from './namespace.js';

const DEFRAG = `table inet meridio-defrag {
	chain pre-defrag {
		type filter hook prerouting priority -500; policy accept;
		iifname "conduit-a-*" notrack
	}

	chain in {
		type filter hook prerouting priority raw; policy accept;
		notrack
		ct state untracked accept
	}

	chain out {
		type filter hook output priority raw; policy accept;
		notrack
	}
}
`;

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  // An emulated machine needs more than tap's 30 s.
  t.setTimeout(600_000);
  makeInterfaces();
  const before = state();
  const logged: string[] = [];
  const log = {
    info: (_: object, message: string) => logged.push(message),
    warn: (_: object, message: string) => logged.push(message),
  };
  const identity = { bootId: 'boot', cookie: '1' };
  const directory = mkdtempSync(join(tmpdir(), 'magmark-kernel-'));
  const journalPath = join(directory, 'journal.json');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const open = () => Kernel.open({ journalPath, identity, log });

  /** All that this room may change, as text. */
  function state(): string {
    return [
      'nft -s list ruleset',
      'ip -4 rule',
      'ip -6 rule',
      // The kernel's own come by themselves, a while after an interface is up.
      "ip -4 route show table all | grep -v 'proto kernel'",
      "ip -6 route show table all | grep -v 'proto kernel'",
    ]
      .map(command => `# ${command}\n${shell(`${command} || true`)}`)
      .join('');
  }

  /** Nobody is behind the links: targets are taken to have answered once. */
  const servingAll = ({ targets }: WantedKernel) => ({
    serving: new Set(targets.map(({ fwmark }) => fwmark)),
  });

  /** Differences of nftables and mangle tables. */
  const tables = (differences: readonly Difference[]) =>
    differences.filter(({ what }) => what.startsWith('table '));

  async function applyAll(kernel: Kernel, wanted: WantedKernel, options: AddOptions = {}) {
    const { pending, warnings } = await kernel.add(wanted, { ...servingAll(wanted), ...options });
    await kernel.applyRuleset(wanted);
    await kernel.removeStale(wanted);
    return { pending, warnings };
  }

  t.test('the listings are those of the reference', async t => {
    const kernel = await open();
    t.match(logged.join(), kernel.carrier);
    t.same(await applyAll(kernel, EXAMPLE), { pending: [], warnings: [] });
    const rules = [
      '96:\tfrom all fwmark 0x13d1 lookup 5073',
      '97:\tfrom all fwmark 0x13b4 lookup 5044',
      '98:\tfrom all fwmark 0x13c6 lookup 5062',
      '99:\tfrom all fwmark 0x13cd lookup 5069',
    ].join('\n');
    for (const family of [4, 6]) {
      const vip = family === 4 ? '20.0.0.1' : '2000::1';
      const listed = shell(`ip -${family} rule`);
      t.ok(listed.includes(rules), listed);
      t.ok(listed.includes(`100:\tfrom ${vip} lookup 4096\n101:\tfrom ${vip} lookup 4097\n102:`), listed);
    }
    t.equal(shell('ip route show table 5073'), 'default via 172.16.1.8 dev conduit-a--f75b \n');
    t.equal(shell('ip route show table 5044'), 'default via 172.16.1.6 dev conduit-a--f75b \n');
    t.equal(shell('ip route show table 5062'), 'default via 172.16.0.8 dev conduit-a--d7c4 \n');
    t.equal(shell('ip route show table 5069'), 'default via 172.16.0.6 dev conduit-a--d7c4 \n');
    t.equal(
      shell('ip -6 route show table 5069'),
      'default via fd00::6 dev conduit-a--d7c4 metric 1024 pref medium\n',
    );
    t.equal(
      shell('ip -6 route show table 5073'),
      'default via fd00:0:0:1::8 dev conduit-a--f75b metric 1024 pref medium\n',
    );
    for (const [family, to] of [
      [4, ['172.16.0.0/24', '172.16.1.0/24']],
      [6, ['fd00::/64', 'fd00:0:0:1::/64']],
    ] as const) {
      const hairpins = to.map(subnet => `1:\tfrom all to ${subnet} fwmark 0 lookup main`);
      t.ok(shell(`ip -${family} rule`).includes(hairpins.join('\n')), shell(`ip -${family} rule`));
    }
    t.equal(shell('ip route show table 4096 2>/dev/null || true'), '', 'BIRD fills it');
    t.equal(shell('ip route show table 4097'), 'blackhole default \n');
    t.equal(shell('nft list table inet meridio-defrag'), DEFRAG);
    t.equal(shell('nft list table inet meridio-nat'), 'table inet meridio-nat {\n}\n');
    t.equal(shell('nft list table inet meridio-nfqlb'), nfqlbText(kernel.carrier));
    if (kernel.carrier === 'xtables') {
      const rule = (mark: string) => `-m mark --mark ${mark} -j NFQUEUE --queue-balance 0:3`;
      for (const program of ['iptables-nft', 'ip6tables-nft']) {
        const listed = shell(`${program} -t mangle -S`);
        const rules = `-A PREROUTING ${rule('0x1000/0x107f')}\n-A OUTPUT ${rule('0x1000')}\n`;
        t.ok(listed.endsWith(rules), listed);
      }
    }
    t.equal(readFileSync('/proc/sys/net/ipv4/conf/ext-vlan0/rp_filter', 'utf8'), '0\n');
    t.equal(readFileSync('/proc/sys/net/ipv6/conf/all/forwarding', 'utf8'), '1\n');
  });

  t.test('applying the same again, also by a new process after SIGKILL, changes nothing', async t => {
    const former = state();
    const handles = shell('nft -s -a list table inet meridio-nfqlb');
    await applyAll(await open(), EXAMPLE);
    t.equal(state(), former);
    t.equal(shell('nft -s -a list table inet meridio-nfqlb'), handles, 'the tables were not replaced');
  });

  t.test('a mark without a route of its own is dropped, never routed by main', t => {
    shell('ip route add default via 169.254.100.150');
    for (const mark of [5001, 5010, 5043, 5100]) {
      t.throws(() => shell(`ip route get 20.0.0.1 mark ${mark}`), /Invalid argument/, `mark ${mark}`);
      t.throws(() => shell(`ip -6 route get 2000::1 mark ${mark}`), `mark ${mark}, IPv6`);
    }
    t.match(shell('ip route get 20.0.0.1 mark 5044'), /via 172.16.1.6 dev conduit-a--f75b/);
    t.match(shell('ip route get 20.0.0.1 mark 5101'), /via 169.254.100.150/);
    shell('ip route del default via 169.254.100.150');
    t.end();
  });

  t.test('the guard lets former marks pass until no worker gives them', async t => {
    const admitted = () => /elements = \{ (.*) \}/.exec(shell('nft list set inet magmark-guard marks'))?.[1];
    const others: WantedKernel = {
      ...EXAMPLE,
      markRanges: [
        { first: 5051, last: 5200 },
        { first: 9001, last: 9001 },
      ],
      unmatchedMarks: [77],
    };
    for (const kernel of [await open(), await open()]) {
      t.equal(admitted(), '0x00001389-0x000013ec', 'those of the example');
      await kernel.add(others, servingAll(others));
      t.equal(admitted(), '0x0000004d, 0x00001389-0x00001450, 0x00002329', 'before the image is published');
      const handles = shell('nft -s -a list chain inet magmark-guard forward');
      await kernel.applyRuleset(others, { unlessAsLast: true, keepsMarks: true });
      t.equal(admitted(), '0x0000004d, 0x00001389-0x00001450, 0x00002329', 'with the ruleset');
      t.equal(shell('nft -s -a list chain inet magmark-guard forward'), handles, 'nothing differed');
      t.match(
        tables(await kernel.compare(others)),
        [{ kind: 'changed', what: 'table inet magmark-guard: set marks' }],
        'diff',
      );
      await kernel.removeStale(others);
      t.equal(admitted(), '0x0000004d, 0x000013bb-0x00001450, 0x00002329', 'former ones go last');
      t.same(await kernel.compare(others), []);
      await applyAll(kernel, EXAMPLE);
    }
    t.equal((await (await open()).readGuard())?.dropped[4], 0);
  });

  t.test('a counter that somebody removed comes back with the guard', async t => {
    shell('nft flush chain inet magmark-guard to-vip; nft delete counter inet magmark-guard ipv6-dropped');
    const former = state();
    const kernel = await open();
    await applyAll(kernel, EXAMPLE);
    t.not(state(), former);
    t.same((await kernel.readGuard())?.dropped, { 4: 0, 6: 0 });
    shell('nft delete table inet magmark-guard');
    t.equal(await kernel.readGuard(), null);
    await applyAll(kernel, EXAMPLE);
  });

  t.test('other VIPs refill the sets and leave the counters', async t => {
    const handles = shell('nft -s -a list chain inet meridio-nfqlb nfqlb');
    const range: WantedKernel = {
      ...EXAMPLE,
      vips: [
        { family: 4, address: '20.0.0.0', length: 24 },
        { family: 4, address: '20.0.0.1', length: 32 },
        { family: 4, address: '20.0.1.0', length: 24 },
      ],
    };
    await applyAll(await open(), range);
    t.match(
      shell('nft list set inet meridio-nfqlb ipv4-vips'),
      /elements = \{ 20.0.0.0\/24, 20.0.1.0\/24 \}/,
    );
    t.notMatch(shell('nft list set inet meridio-nfqlb ipv6-vips'), /elements/);
    t.equal(shell('nft -s -a list chain inet meridio-nfqlb nfqlb'), handles);
    t.notMatch(shell('ip -6 rule'), /4096|4097/);
    t.match(shell('ip rule'), /100:\tfrom 20.0.0.0\/24 lookup 4096/);
    const everything: WantedKernel = {
      ...EXAMPLE,
      vips: [
        { family: 4, address: '0.0.0.0', length: 0 },
        { family: 6, address: '::', length: 0 },
      ],
    };
    await applyAll(await open(), everything);
    const former = state();
    await applyAll(await open(), everything);
    t.equal(state(), former, 'all addresses as a VIP are understood in the listings');
    await applyAll(await open(), EXAMPLE);
    t.equal(shell('nft -s -a list chain inet meridio-nfqlb nfqlb'), handles);
  });

  t.test('other queues and internal interfaces leave the chains: without them queued packets go', async t => {
    const chains = () =>
      ['nfqlb', 'defrag']
        .map(name => shell(`nft -a list table inet meridio-${name} | grep -E '^(table|.(chain|set)) '`))
        .join('');
    const former = chains();
    t.match(former, /chain nfqlb \{ # handle/);
    const kernel = await open();
    await applyAll(kernel, {
      ...EXAMPLE,
      queues: { first: 4, last: 5 },
      interfaces: { ...EXAMPLE.interfaces, internal: ['conduit-b-*', 'conduit-c-*'] },
      vips: [{ family: 4, address: '20.0.0.2', length: 32 }],
    });
    t.equal(chains(), former);
    t.match(
      shell('nft list chain inet meridio-defrag pre-defrag'),
      /;\n\t\tiifname "conduit-b-\*" notrack\n\t\tiifname "conduit-c-\*" notrack\n\t\}/,
    );
    t.match(shell('nft list set inet meridio-nfqlb ipv4-vips'), /elements = \{ 20.0.0.2 \}/);
    if (kernel.carrier === 'nft') {
      t.equal(shell('nft list table inet meridio-nfqlb').match(/queue to 4-5/g)?.length, 4);
    }
    await applyAll(await open(), EXAMPLE);
    t.equal(chains(), former);
    t.equal(shell('nft list table inet meridio-defrag'), DEFRAG);
    t.equal(
      shell('nft -s list table inet meridio-nfqlb'),
      nfqlbText(kernel.carrier).replaceAll('counter packets 0 bytes 0', 'counter'),
    );
  });

  t.test('queues and next hops are replaced in place', async t => {
    const changed: WantedKernel = {
      ...EXAMPLE,
      queues: { first: 2, last: 2 },
      targets: [target(69, '172.16.1.66', 'fd00:0:0:1::66'), ...EXAMPLE.targets.slice(1)],
    };
    const kernel = await open();
    t.same(await applyAll(kernel, changed), { pending: [], warnings: [] });
    t.equal(shell('ip route show table 5069'), 'default via 172.16.1.66 dev conduit-a--f75b \n');
    t.match(
      shell('ip -6 route show table 5069'),
      /^default via fd00:0:0:1::66 dev conduit-a--f75b [^\n]*\n$/,
    );
    if (kernel.carrier === 'xtables') {
      t.equal(shell('iptables-nft -t mangle -S').match(/NFQUEUE --queue-num 2\n/g)?.length, 2);
      t.notMatch(shell('iptables-nft -t mangle -S'), /queue-balance/);
    }
    const former = state();
    t.same(await applyAll(await open(), changed), { pending: [], warnings: [] });
    t.equal(state(), former);
    await applyAll(await open(), EXAMPLE);
  });

  t.test(
    'what reassembles fragments does nothing at once, goes at a start, and others who have it are named',
    async t => {
      const former = state();
      const tracking = { ...EXAMPLE, fragments: 'track' as const };
      const kernel = await open();
      await applyAll(kernel, EXAMPLE);
      t.same(await kernel.tracking(EXAMPLE), []);
      await applyAll(kernel, tracking);
      const untracked = DEFRAG.replace('iifname "conduit-a-*" notrack', 'notrack');
      t.equal(shell('nft list table inet meridio-defrag'), untracked, 'the rule stands');
      t.same(await kernel.tracking(tracking), []);
      t.same(await kernel.compare(tracking), [], 'and is no difference');
      await applyAll(kernel, EXAMPLE);

      const next = await open();
      await applyAll(next, tracking);
      t.equal(
        shell('nft list table inet meridio-defrag'),
        untracked.replace('\t\tct state untracked accept\n', ''),
      );
      t.same(await next.tracking(tracking), []);
      shell(
        'iptables-nft -t nat -A POSTROUTING -j MASQUERADE; nft add table ip6 other; nft add chain ip6 other in',
      );
      shell('nft add rule ip6 other in ct state new counter comment \\"why not\\"');
      t.match(await next.tracking(tracking), [
        /^fragments: track: table ip nat, chain POSTROUTING has the kernel track connections \(".*masquerade"\)/i,
        /^fragments: track: table ip6 other, chain in has the kernel track connections/,
      ]);
      shell('nft delete table ip nat; nft delete table ip6 other');
      await applyAll(next, EXAMPLE);
      t.equal(state(), former, 'it comes back at once: nothing is lost by that');
    },
  );

  t.test(
    'a rule by another hand in front of the targets’ rules is told of, and nothing is refused',
    async t => {
      const wanted = { ...EXAMPLE, interfaces: { ...EXAMPLE.interfaces, external: 'ext-vlan0' } };
      const kernel = await open();
      const lines = async () => (await kernel.add(wanted)).warnings;
      t.same(await lines(), []);
      for (const rule of [
        'priority 50 lookup main',
        'from 10.0.0.0/8 lookup 7',
        'priority 60 iif lo lookup 8',
      ])
        shell(`ip rule add ${rule}`);
      const told = [
        /^IPv4 rule 50: from all lookup main takes packets to VIPs, whatever their mark/,
        // Who names no priority gets one in front of all that stand.
        /^IPv4 rule \d+: from 10\.0\.0\.0\/8 lookup 7 takes packets to VIPs/,
      ];
      const found = await lines();
      t.equal(found.length, told.length);
      for (const words of told)
        t.ok(
          found.some(line => words.test(line)),
          `${words}`,
        );
      t.equal((await kernel.compare(wanted)).filter(({ kind }) => kind === 'foreign').length, 2);
      shell('ip rule del priority 50; ip rule del from 10.0.0.0/8 lookup 7; ip rule del priority 60');
      t.same(await lines(), []);
    },
  );

  t.test('a table that is made anew keeps its place in the listing', async t => {
    const former = state();
    for (const name of ['nfqlb', 'nat', 'defrag']) {
      shell(`nft delete table inet meridio-${name}`);
      await applyAll(await open(), EXAMPLE);
      t.equal(state(), former, `meridio-${name}`);
    }
  });

  t.test('half states are repaired: missing, doubled and stale things', async t => {
    const former = state();
    await applyAll(await open(), { ...EXAMPLE, targets: [...EXAMPLE.targets, target(1, '172.16.0.9')] });
    t.match(shell('ip rule'), /95:\tfrom all fwmark 0x1389 lookup 5001/);
    shell('nft delete table inet meridio-nat; nft flush chain inet meridio-nfqlb nfqlb');
    shell('ip rule del priority 97; ip -6 rule del priority 101; ip -6 route del default table 5062');
    shell('ip route replace default via 172.16.0.99 table 5073');
    shell('nft -f - <<X\ndelete table inet meridio-defrag\ntable inet meridio-defrag { }\nX');
    if ((await open()).carrier === 'xtables') {
      shell('iptables-nft -t mangle -A OUTPUT -m mark --mark 0x4d61676d -j NFQUEUE --queue-num 9');
      shell('ip6tables-nft -t mangle -D OUTPUT 1');
    }
    await applyAll(await open(), EXAMPLE);
    t.equal(state(), former);
  });

  t.test('another queue mark takes the place of the former one, also that of an old version', async t => {
    const kernel = await open();
    if (kernel.carrier === 'nft') return;
    const mangle = () => shell('iptables-nft -t mangle -S; ip6tables-nft -t mangle -S');
    const former = mangle();
    await applyAll(kernel, { ...EXAMPLE, queueMark: 0x77000 });
    t.match(mangle(), /PREROUTING -m mark --mark 0x77000\/0x7707f -j NFQUEUE/);
    t.notMatch(mangle(), /0x1000/);
    t.match(shell('nft list chain inet meridio-nfqlb nfqlb'), /meta mark set 0x00077000/);
    t.same(await kernel.compare({ ...EXAMPLE, queueMark: 0x77000 }).then(tables), []);
    // By a process that knows it from the journal alone.
    await applyAll(await open(), EXAMPLE);
    t.equal(mangle(), former);
    shell('ip6tables-nft -t mangle -A OUTPUT -m mark --mark 0x4d61676d -j NFQUEUE --queue-num 9');
    t.match(await kernel.compare(EXAMPLE).then(tables), [{ kind: 'surplus', what: /--mark 0x4d61676d/ }]);
    await applyAll(await open(), EXAMPLE);
    t.equal(mangle(), former);
  });

  t.test(
    'with markMask rules and tables compare our bits alone, and are listed as they were made',
    async t => {
      const former = state();
      const mangle = () => shell('iptables-nft -t mangle -S; ip6tables-nft -t mangle -S');
      const masked: WantedKernel = { ...EXAMPLE, markMask: 0xffff, unmatchedMarks: [77] };
      const kernel = await open();
      await applyAll(kernel, masked);
      for (const family of [4, 6]) {
        const listed = shell(`ip -${family} rule`);
        for (const { fwmark } of EXAMPLE.targets)
          t.match(listed, new RegExp(`from all fwmark 0x${fwmark.toString(16)}/0xffff lookup ${fwmark}\n`));
        t.match(listed, /^1:\tfrom all to \S+ fwmark 0\/0xffff lookup main$/m);
        t.match(listed, /^102:\tfrom all fwmark 0x1390\/0xfff0 blackhole$/m);
        t.notMatch(listed, /fwmark 0x\w+ /, 'none of the former rules is left');
      }
      t.same(await kernel.compare(masked), [], 'what nft and ip list is what is wanted');
      const applied = state();
      await applyAll(await open(), masked);
      t.equal(state(), applied, 'a second look repairs nothing');
      t.match(shell('nft list table inet magmark-guard'), /meta mark & 0x0000ffff (== )?@marks/);
      if (kernel.carrier === 'xtables') {
        t.match(mangle(), /PREROUTING -m mark --mark 0x1000\/0x107f -j NFQUEUE/);
        t.match(mangle(), /OUTPUT -m mark --mark 0x1000\/0xffff -j NFQUEUE/);
        t.match(
          shell('nft list chain inet meridio-nfqlb nfqlb'),
          /meta mark set meta mark & 0xffff\w+ \| 0x00001000/,
        );
      }
      // By a process that knows the masked rules from the journal alone.
      await applyAll(await open(), EXAMPLE);
      t.equal(state(), former);
    },
  );

  t.test('a rule of ours that stands twice is reduced to one', async t => {
    const former = state();
    const journal = JSON.parse(readFileSync(journalPath, 'utf8'));
    const double = journal.claims.rules.find((rule: { table: number }) => rule.table === 5044);
    journal.claims.rules.push({ ...double, priority: 50 });
    writeFileSync(journalPath, JSON.stringify(journal));
    shell('ip rule add fwmark 5044 lookup 5044 priority 50');
    await applyAll(await open(), EXAMPLE);
    t.equal(state(), former);
  });

  t.test('a next hop that is not on-link makes its target pending, and only it', async t => {
    const far: WantedKernel = {
      ...EXAMPLE,
      targets: [target(69, '192.0.2.1', 'fd00::6'), ...EXAMPLE.targets.slice(1)],
    };
    const kernel = await open();
    const { pending } = await applyAll(kernel, far);
    t.equal(pending.length, 1);
    t.match(pending[0], {
      fwmark: 5069,
      label: 'stream-a-i/69',
      reason: /^no interface that is up has an address in the network of 192\.0\.2\.1 \(.*invalid gateway/,
    });
    t.same(await kernel.predictInactive(far), [
      {
        kind: 'inactive',
        what: 'target stream-a-i/69: no interface that is up has an address in the network of 192.0.2.1',
      },
    ]);
    t.notMatch(shell('ip -4 route show table all'), / table 5069 /, 'the former next hop is gone');
    shell('ip link add below type veth peer name below0 netns peer; ip addr add 192.0.3.4/24 dev below');
    const odd = (address: string): WantedKernel => ({
      ...EXAMPLE,
      targets: [target(69, address, 'fd00::6'), ...EXAMPLE.targets.slice(1)],
    });
    const down = /network of 192\.0\.3\.1: below has one and is down \(/;
    t.match((await applyAll(kernel, odd('192.0.3.1'))).pending, [{ fwmark: 5069, reason: down }]);
    // The kernel takes a route by an address of its own; no neighbour answers there.
    t.match(await kernel.predictInactive(odd('172.16.0.4')), [
      { what: /: 172\.16\.0\.4 is an address of this host itself, on conduit-a--d7c4$/ },
    ]);
    shell('ip link del below');
    await applyAll(kernel, far);
    shell('ip addr add 192.0.2.4/24 dev conduit-a--d7c4');
    t.same((await kernel.add(far, servingAll(far))).pending, [], 'tried again when its network has come');
    shell('ip addr del 192.0.2.4/24 dev conduit-a--d7c4');
    t.same(await applyAll(kernel, EXAMPLE), { pending: [], warnings: [] });
  });

  t.test('a network of a narrower route leads to its interface, whoever made the route', async t => {
    shell('ip addr add 172.16.0.44/16 dev conduit-a--d7c4');
    shell('ip route add 172.16.1.0/24 dev conduit-a--f75b proto bird metric 5');
    shell('ip route del 172.16.1.0/24 dev conduit-a--f75b proto kernel');
    const kernel = await open();
    t.same((await kernel.add(EXAMPLE, servingAll(EXAMPLE))).pending, []);
    t.match(shell('ip route show table 5044'), 'default via 172.16.1.6 dev conduit-a--f75b');
    t.match(shell('ip route get 20.0.0.1 mark 5044'), 'dev conduit-a--f75b');
    shell('ip route add 172.16.1.0/24 dev conduit-a--f75b proto kernel scope link src 172.16.1.4');
    shell('ip route del 172.16.1.0/24 dev conduit-a--f75b proto bird');
    shell('ip addr del 172.16.0.44/16 dev conduit-a--d7c4');
    t.same(await applyAll(kernel, EXAMPLE), { pending: [], warnings: [] });
  });

  t.test('a target behind a link that is down is pending until the link is up', async t => {
    shell('ip link add conduit-a--x type veth peer name x netns peer && ip -n peer link set x up');
    shell('ip addr add 172.16.9.4/24 dev conduit-a--x && ip link set conduit-a--x up');
    const wanted = { ...EXAMPLE, targets: [...EXAMPLE.targets, target(9, '172.16.9.6')] };
    const kernel = await open();
    t.same((await applyAll(kernel, wanted)).pending, []);
    shell('ip link set conduit-a--x down');
    t.match((await kernel.add(wanted, servingAll(wanted))).pending, [{ fwmark: 5009, reason: /172.16.9.6/ }]);
    t.throws(() => shell('ip route get 20.0.0.1 mark 5009'), 'its packets are dropped');
    shell('ip link set conduit-a--x up');
    t.same((await kernel.add(wanted, servingAll(wanted))).pending, []);
    t.match(shell('ip route get 20.0.0.1 mark 5009'), /via 172.16.9.6/);
    shell('ip -n peer link set x down');
    // The kernel tells of a lost carrier within a second.
    shell("timeout 10 sh -c 'until ip route show table 5009 | grep linkdown; do sleep 0.02; done'");
    t.match((await kernel.add(wanted, servingAll(wanted))).pending, [
      { fwmark: 5009, reason: 'link conduit-a--x is down' },
    ]);
    await applyAll(kernel, EXAMPLE);
    shell('ip link del conduit-a--x');
  });

  t.test(
    'what others made stays: where numbers collide it is a clash, or a warning if they came later',
    async t => {
      await (await open()).removeAll();
      shell(
        'ip rule add fwmark 5044 lookup 77 priority 98; ip rule add iif lo fwmark 5044 lookup 5044 priority 9',
      );
      const clash = state();
      const refusal = {
        code: 'CLASH',
        message: /rule 9: .* looks up a target's table[\s\S]*rule 98: .*takes marks of ours/,
      };
      await t.rejects((await open()).add(EXAMPLE), refusal);
      t.equal(state(), clash, 'nothing was changed');
      const later = { clashesAreWarnings: true };
      t.match((await applyAll(await open(), EXAMPLE, later)).warnings, [/rule 9:/, /rule 98:/]);
      shell(
        'ip rule add from 20.0.0.9 lookup 4096 priority 100; ip route add default via 172.16.0.7 table 77',
      );
      shell('nft add table inet other; ip route add 10.9.0.0/16 via 172.16.1.8 table 5073');
      const foreign = state();
      await applyAll(await open(), EXAMPLE, later);
      t.equal(state(), foreign);
      await (await open()).removeAll();
      const left = state();
      t.match(left, /fwmark 0x13b4 lookup 77/);
      t.match(left, /fwmark 0x13b4 iif lo lookup 5044/);
      t.match(left, /from 20.0.0.9 lookup 4096/);
      t.match(left, /10.9.0.0\/16 via 172.16.1.8/);
      t.match(left, /table inet other/);
      shell(
        'ip rule del priority 98; ip rule del priority 9; ip rule del priority 100; ip route flush table 77',
      );
      shell('nft delete table inet other; ip route flush table 5073');
      t.equal(state(), before);
    },
  );

  t.test('removing all leaves the kernel as it was, and no journal; twice is no fault', async t => {
    const kernel = await open();
    await applyAll(kernel, EXAMPLE);
    t.ok(existsSync(journalPath));
    await kernel.removeAll();
    t.equal(state(), before);
    t.notOk(existsSync(journalPath));
    await kernel.removeAll();
    t.equal(state(), before);
  });

  t.test('a mangle table that others use stays', async t => {
    shell('iptables-nft -t mangle -A FORWARD -j ACCEPT');
    const former = state();
    const kernel = await open();
    await applyAll(kernel, EXAMPLE);
    await kernel.removeAll();
    t.match(state(), /chain FORWARD/);
    t.match(former, /chain FORWARD/);
    shell('nft delete table ip mangle');
    t.equal(state(), before);
  });

  t.test(
    'rules that queue stay one each, and all go, where iptables-nft refuses to list their table',
    async t => {
      const kernel = await open();
      if (kernel.carrier !== 'xtables') return;
      await applyAll(kernel, EXAMPLE);
      for (const family of ['ip', 'ip6'])
        shell(`nft add rule ${family} mangle PREROUTING iifname "zz0" meta mark set ct mark`);
      t.notMatch(shell('iptables-nft-save -t mangle 2>&1'), /NFQUEUE/, 'it lists nothing');
      const listed = () => shell('nft -s -a list table ip mangle; nft -s -a list table ip6 mangle');
      const queueing = () =>
        listed().match(/meta mark (& 0x0000107f == 0x00001000|0x00001000|0x4d61676d)/g)?.length ?? 0;
      const former = listed();
      t.same(await kernel.compare(EXAMPLE), []);
      t.same(await kernel.applyRuleset(EXAMPLE), []);
      t.equal(listed(), former, 'nothing was changed');
      const other = { ...EXAMPLE, queues: { first: 2, last: 2 } };
      t.same(
        (await kernel.applyRuleset(other)).filter(name => name.includes('mangle')),
        ['table ip mangle', 'table ip6 mangle'],
        'rules for other queues take the place of the former ones',
      );
      t.equal(queueing(), 4);
      t.equal(
        shell('iptables-nft -t mangle -C PREROUTING -m mark --mark 0x1000/0x107f -j NFQUEUE --queue-num 2'),
        '',
      );
      shell('nft flush chain ip6 mangle OUTPUT');
      // As former versions left them.
      for (let count = 0; count < 3; count += 1)
        shell('iptables-nft -t mangle -I OUTPUT -m mark --mark 0x4d61676d -j NFQUEUE --queue-num 2');
      t.match(await kernel.compare(other), [
        { kind: 'surplus', what: /^table ip mangle: -A OUTPUT \(the rule with handle/ },
        { kind: 'surplus' },
        { kind: 'surplus' },
        { kind: 'missing', what: /^table ip6 mangle: -A OUTPUT -m mark/ },
      ]);
      await kernel.applyRuleset(other);
      t.equal(queueing(), 4, listed());
      t.same(await kernel.compare(other), []);
      await kernel.removeAll();
      t.equal(queueing(), 0, listed());
      t.match(listed(), /"zz0" meta mark set ct mark/, 'the rule of others stays');
      shell('nft delete table ip mangle; nft delete table ip6 mangle');
      t.equal(state(), before);
    },
  );

  t.test('rules of others that touch packets to VIPs are found, also those of iptables-legacy', async t => {
    const kernel = await open();
    await applyAll(kernel, EXAMPLE);
    const report = async () => (await kernel.reviewForeign(EXAMPLE)).warnings.join('\n');
    t.equal(await report(), '');
    shell('nft add table inet dormant "{ flags dormant; }"');
    t.equal(await report(), '', 'a table with a flag breaks nothing');
    shell('ip6tables-nft -I FORWARD -m mark --mark 0x13b4 -m hl --hl-eq 9 -j DROP');
    t.match(await report(), /table ip6 filter, chain FORWARD, rule .* may match: it drops packets to VIPs/);
    const legacy = (() => {
      try {
        return shell('iptables-legacy -P FORWARD DROP 2>&1');
      } catch {
        return null;
      }
    })();
    if (legacy === null) t.comment('this machine has no iptables-legacy');
    else
      t.match(
        await report(),
        /iptables-legacy, table filter, chain FORWARD: its policy drops packets to VIPs/,
      );
    t.match(
      (await kernel.compare(EXAMPLE)).map(({ kind }) => kind),
      ['foreign'],
    );
    if (legacy !== null) shell('iptables-legacy -P FORWARD ACCEPT');
    shell('nft delete table ip6 filter; nft delete table inet dormant');
    t.equal(await report(), '');
    await kernel.removeAll();
    t.equal(state(), before);
  });

  t.test('a table or route of ours that no journal claims is a clash, and nothing changes', async t => {
    shell('nft add table inet meridio-defrag');
    await t.rejects(open(), { code: 'CLASH', message: /meridio-defrag/ });
    shell('nft delete table inet meridio-defrag');
    shell('ip route add default via 172.16.0.7 table 5044');
    const former = state();
    const kernel = await open();
    await t.rejects(kernel.add(EXAMPLE), ClashError);
    t.equal(state(), former);
    t.notOk(existsSync(journalPath));
    shell('ip route flush table 5044');
  });

  t.test('a neighbour entry does not outlive its target', async t => {
    shell('ip neigh add 172.16.0.6 lladdr 02:00:00:00:00:01 dev conduit-a--d7c4 nud reachable');
    const kernel = await open();
    await applyAll(kernel, EXAMPLE);
    t.notMatch(shell('ip neigh show to 172.16.0.6'), /02:00:00:00:00:01/);
    await kernel.removeAll();
  });

  t.test('the mangle table of IPv4 is made before that of IPv6', async t => {
    const kernel = await open();
    if (kernel.carrier === 'xtables') {
      for (let round = 0; round < 5; round += 1) {
        await kernel.applyRuleset(EXAMPLE);
        t.match(shell('nft list tables'), /table ip mangle\ntable ip6 mangle\n/);
        await kernel.removeAll();
      }
    }
  });

  t.test('the ruleset can go alone: rules and routes stay until all is removed', async t => {
    const kernel = await open();
    await applyAll(kernel, EXAMPLE);
    await kernel.removeRuleset();
    t.equal(shell('nft list ruleset'), '');
    t.match(shell('ip rule'), /lookup 5044/);
    t.match(shell('ip -6 route show table 5044'), /via fd00:0:0:1::6/);
    await kernel.removeRuleset();
    await kernel.removeAll();
    t.equal(state(), before);
    t.notOk(existsSync(journalPath));
  });

  t.test('a journal that cannot be written stops a change before the kernel is touched', async t => {
    const kernel = await open();
    const directory = dirname(journalPath);
    renameSync(directory, `${directory}.away`);
    try {
      await t.rejects(kernel.add(EXAMPLE), { code: 'ENVIRONMENT', message: /write journal .*: ENOENT/ });
      await t.rejects(kernel.applyRuleset(EXAMPLE), { code: 'ENVIRONMENT' });
      t.equal(state(), before);
    } finally {
      renameSync(`${directory}.away`, directory);
    }
    await applyAll(kernel, EXAMPLE);
    await kernel.removeAll();
    t.equal(state(), before);
  });

  t.test('while IPv6 is disabled IPv4 alone is served, and the next add takes IPv6 up again', async t => {
    const warning = /disable_ipv6 is 1\): IPv4 alone is served/;
    const disable = '/proc/sys/net/ipv6/conf/all/disable_ipv6';
    const kernel = await open();
    await applyAll(kernel, EXAMPLE);
    writeFileSync(disable, '1');
    const { pending, warnings } = await applyAll(kernel, EXAMPLE);
    t.same(pending, []);
    t.equal(warnings.length, 1);
    t.match(warnings, [warning]);
    t.notMatch(shell('ip -6 rule'), /2000::1|blackhole|fwmark/, 'what stood for it is removed');
    t.match(shell('ip rule'), /lookup 5044/);
    await kernel.removeAll();
    const fresh = await open();
    t.match((await applyAll(fresh, EXAMPLE)).warnings, [warning]);
    t.notMatch(shell('nft list tables'), /ip6 mangle/);
    writeFileSync(disable, '0');
    addAddresses();
    t.same(await applyAll(fresh, EXAMPLE), { pending: [], warnings: [] });
    t.match(shell('ip -6 rule'), /from 2000::1 lookup 4096/);
    t.match(shell('ip -6 route show table 5044'), /via fd00:0:0:1::6/);
    await fresh.removeAll();
    t.equal(state(), before);
  });

  t.test('a tree of many dual-stack targets too has no part in IPv6 while that is disabled', async t => {
    const disable = '/proc/sys/net/ipv6/conf/all/disable_ipv6';
    const many: WantedKernel = {
      ...EXAMPLE,
      targets: Array.from({ length: 100 }, (_, index) =>
        target(index + 1, `172.16.0.${index + 5}`, `fd00::${(index + 16).toString(16)}`),
      ),
      markRanges: [{ first: 5001, last: 5100 }],
    };
    const four = {
      ...many,
      targets: many.targets.map(each => ({ ...each, nextHops: each.nextHops.slice(0, 1) })),
    };
    const six = () =>
      shell('ip -6 rule; ip -6 route show table all exact default').match(/50\d\d|fwmark|goto|lookup 409/g);
    const kernel = await open();
    await applyAll(kernel, many, servingAll(many));
    const tree = state();
    writeFileSync(disable, '1');
    t.same((await applyAll(kernel, many, servingAll(many))).pending, []);
    t.equal(six(), null, 'what stood for it is removed');
    t.equal(shell('ip rule').match(/fwmark 0x\w+ lookup 5/g)?.length, 100);
    await kernel.removeAll();
    for (const wanted of [many, four]) {
      const fresh = await open();
      t.same((await applyAll(fresh, wanted, servingAll(wanted))).pending, [], 'from the start');
      t.equal(six(), null);
      t.equal(shell('ip rule').match(/fwmark 0x\w+ lookup 5/g)?.length, 100);
      await fresh.removeAll();
      t.equal(six(), null);
    }
    writeFileSync(disable, '0');
    addAddresses();
    const again = await open();
    t.same((await applyAll(again, many, servingAll(many))).pending, []);
    t.equal(state(), tree, 'enabled, all of it stands again');
    await again.removeAll();
    t.equal(state(), before);
  });

  t.test('300 targets come and go in one go', async t => {
    const many: WantedKernel = {
      ...EXAMPLE,
      targets: Array.from({ length: 300 }, (_, index) =>
        target(index + 1, `172.16.${index % 2}.${(index % 250) + 5}`, `fd00::${(index + 16).toString(16)}`),
      ),
      markRanges: [{ first: 5001, last: 5300 }],
    };
    const kernel = await open();
    const started = performance.now();
    t.same((await kernel.add(many, servingAll(many))).pending, []);
    const added = performance.now();
    await kernel.applyRuleset(many);
    const steered = performance.now();
    await kernel.removeStale(many);
    const checked = performance.now();
    for (const family of [4, 6]) {
      const listed = shell(`ip -${family} rule`);
      t.equal(listed.match(/fwmark 0x\w+ lookup 5/g)?.length, 300);
      t.notMatch(listed, /unresolved/);
    }
    const asked = (marks: readonly number[]): string[] =>
      shell(
        `ip -force -batch - 2>&1 <<END\n${marks.map(mark => `route get 20.0.0.1 mark ${mark}`).join('\n')}\nEND\ntrue`,
      )
        .split('\n')
        .filter(line => /^20|^RTNETLINK/.test(line));
    const marks = many.targets.map(({ fwmark }) => fwmark);
    const ways = many.targets.map(({ fwmark, nextHops: [hop] }) => `via ${hop!.address} .*table ${fwmark} `);
    const wrong = (answers: readonly string[], count = ways.length) =>
      ways
        .slice(0, count)
        .flatMap((way, index) => (new RegExp(way).test(answers[index] ?? '') ? [] : [answers[index]]));
    t.same(wrong(asked(marks)), [], 'each mark takes the way of its target');
    // The first rule of a block is where a goto leads to.
    const [, place] = /^1:.* goto (\d+)$/m.exec(shell('ip rule'))!;
    const [, first] = /from all (.*)/.exec(shell(`ip rule list priority ${place}`))!;
    shell(`ip rule del priority ${place} ${first}`);
    t.match(shell(`ip rule list priority 1`), `goto ${place}\n`, 'the kernel leads on to the next one');
    const damaged = await kernel.compare(many);
    t.equal(damaged.length, 1);
    t.match(damaged, [{ kind: 'missing', what: `ip -4 rule add priority ${place} ` }]);
    await kernel.add(many, servingAll(many));
    t.same(wrong(asked(marks)), []);
    t.same(await kernel.compare(many), []);

    const few = { ...many, targets: many.targets.slice(0, 64) };
    await applyAll(kernel, few);
    t.notMatch(shell('ip rule; ip -6 rule'), /goto|unreachable/);
    t.same(wrong(asked(marks.slice(0, 64)), 64), []);
    t.match(
      asked(marks.slice(64)).join(),
      /^(RTNETLINK answers: Invalid argument,?)+$/,
      'others meet a blackhole',
    );
    t.equal(shell('ip rule').match(/^(3[6-9]|[4-9]\d):\tfrom all fwmark 0x\w+ lookup 5/gm)?.length, 64);
    shell('ip rule add priority 2000000 from 10.0.0.1 lookup 7');
    await t.rejects(kernel.add(many), { code: 'CLASH', message: 'IPv4 rule 2000000: lookup 7 stands among' });
    shell('ip rule del priority 2000000');
    await applyAll(kernel, many);
    t.same(wrong(asked(marks)), []);
    const removing = performance.now();
    await kernel.removeAll();
    const removed = performance.now();
    const times = [added - started, steered - added, checked - steered, removed - removing];
    t.comment(`add, ruleset, stale, removeAll: ${times.map(time => `${time.toFixed(0)} ms`).join(', ')}`);
    t.ok(removed - removing < 1000 * (await leeway()), 'removed in less than a second of an idle machine');
    t.equal(state(), before);
  });
}

function nfqlbText(carrier: 'nft' | 'xtables'): string {
  const priority = carrier === 'nft' ? 'filter' : 'mangle - 1';
  const steer = carrier === 'nft' ? 'queue to 0-3' : 'meta mark set 0x00001000';
  return `table inet meridio-nfqlb {
	set ipv4-vips {
		type ipv4_addr
		flags interval
		elements = { 20.0.0.1 }
	}

	set ipv6-vips {
		type ipv6_addr
		flags interval
		elements = { 2000::1 }
	}

	chain nfqlb {
		type filter hook prerouting priority ${priority}; policy accept;
		ip daddr @ipv4-vips counter packets 0 bytes 0 ${steer}
		ip6 daddr @ipv6-vips counter packets 0 bytes 0 ${steer}
	}

	chain nfqlb-local {
		type filter hook output priority ${priority}; policy accept;
		meta l4proto icmp ip daddr @ipv4-vips counter packets 0 bytes 0 ${steer}
		meta l4proto ipv6-icmp ip6 daddr @ipv6-vips counter packets 0 bytes 0 ${steer}
	}
}
`;
}
