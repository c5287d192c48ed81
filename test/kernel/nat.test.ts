/** Port NAT and the errors of this host, in the real kernel: what nft lists, and what happens to packets that wait. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kernel } from '../../host/kernel/kernel.js';
import { natTable } from '../../host/kernel/nat.js';
import type { WantedKernel } from '../../host/kernel/wanted.js';
import { NetfilterQueue } from '../../host/queue/native.js';
import { readQueues } from '../../host/queue/proc.js';
import type { PortNat, Protocol } from '../../host/types/config.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { EXAMPLE } from './example.js';
import { insideNamespace, makeInterfaces, shell } from './namespace.js';

function nat(port: number, targetPort: number, protocol: Protocol, vips = EXAMPLE.vips): PortNat {
  return { port, targetPort, protocol, vips };
}

const withNats = (...portNats: PortNat[]): WantedKernel => ({ ...EXAMPLE, portNats });

const setsText = (name: string): string => `	set ${name}-ipv4 {
		type ipv4_addr
		flags interval
		elements = { 20.0.0.1 }
	}

	set ${name}-ipv6 {
		type ipv6_addr
		flags interval
		elements = { 2000::1 }
	}
`;

/** As Meridio lays it out. */
function chainText(name: string, protocol: string): string {
  return `	chain ${name} {
		type filter hook prerouting priority 100; policy accept;
		ip daddr @${name}-ipv4 ${protocol} dport 80 ${protocol} dport set 8080 counter packets 0 bytes 0 notrack
		ip saddr @${name}-ipv4 ${protocol} sport 8080 ${protocol} sport set 80 counter packets 0 bytes 0 notrack
		ip6 daddr @${name}-ipv6 ${protocol} dport 80 ${protocol} dport set 8080 counter packets 0 bytes 0 notrack
		ip6 saddr @${name}-ipv6 ${protocol} sport 8080 ${protocol} sport set 80 counter packets 0 bytes 0 notrack
	}
`;
}

/** With a rule more a direction, for datagrams that bear no checksum. */
const UDP_CHAIN = `	chain 80-8080-UDP {
		type filter hook prerouting priority 100; policy accept;
		ip daddr @80-8080-UDP-ipv4 udp dport 80 udp checksum 0 udp dport set 8080 udp checksum set 0 counter packets 0 bytes 0 notrack
		ip daddr @80-8080-UDP-ipv4 udp dport 80 udp dport set 8080 counter packets 0 bytes 0 notrack
		ip saddr @80-8080-UDP-ipv4 udp sport 8080 udp checksum 0 udp sport set 80 udp checksum set 0 counter packets 0 bytes 0 notrack
		ip saddr @80-8080-UDP-ipv4 udp sport 8080 udp sport set 80 counter packets 0 bytes 0 notrack
		ip6 daddr @80-8080-UDP-ipv6 udp dport 80 udp checksum 0 udp dport set 8080 udp checksum set 0 counter packets 0 bytes 0 notrack
		ip6 daddr @80-8080-UDP-ipv6 udp dport 80 udp dport set 8080 counter packets 0 bytes 0 notrack
		ip6 saddr @80-8080-UDP-ipv6 udp sport 8080 udp checksum 0 udp sport set 80 udp checksum set 0 counter packets 0 bytes 0 notrack
		ip6 saddr @80-8080-UDP-ipv6 udp sport 8080 udp sport set 80 counter packets 0 bytes 0 notrack
	}
`;

const MOVES_4 = [192, 208].map(bit => `ip id set 0 ip id set @th,${bit},16`).join(' ');
const MOVES_6 = [256, 272, 288, 304, 320, 336, 352, 368]
  .map(bit => `ip6 length set 0 ip6 length set @th,${bit},16`)
  .join(' ');
/** Raw writes are listed as fields: the digest in a comment tells them from those. */
const SNAT_LOCAL = `table inet meridio-snat-local {
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

	set stream-marks {
		type mark
		flags interval
		elements = { 0x00001389-0x000013ec }
	}

	chain snat-local {
		type route hook output priority raw; policy accept;
		meta mark @stream-marks icmp type { destination-unreachable, time-exceeded, parameter-problem } ip daddr != @ipv4-vips counter packets 0 bytes 0 ip saddr set 0.0.0.0 @nh,96,16 set ip id ${MOVES_4} ip id set @nh,96,16 ip saddr set @th,192,32 meta mark set 0x00000000 comment "IPv4 from the VIP 000000000000"
		meta mark @stream-marks icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } ip6 daddr != @ipv6-vips counter packets 0 bytes 0 ip6 saddr set :: @nh,64,16 set ip6 length ${MOVES_6} ip6 length set @nh,64,16 ip6 saddr set @th,256,128 meta mark set 0x00000000 comment "IPv6 from the VIP 000000000000"
	}
}
`;

const natText = (...parts: string[]): string => `table inet meridio-nat {\n${parts.join('\n')}}\n`;

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  makeInterfaces();
  const directory = mkdtempSync(join(tmpdir(), 'magmark-nat-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const log = { info: () => undefined, warn: () => undefined };
  const identity = { bootId: 'boot', cookie: '1' };
  const open = () => Kernel.open({ journalPath: join(directory, 'journal.json'), identity, log });
  const listed = () => shell('nft list table inet meridio-nat');
  /** Handles tell what was made anew. */
  const handles = () => shell('nft -a list ruleset').replace(/packets \d+ bytes \d+/g, '');
  /** Without the rules about errors, which all stand in one chain. */
  const lasting = () =>
    handles()
      .split('\n')
      .filter(line => !line.includes('comment'));

  t.test('NATs that share ports and protocol are one chain with the VIPs of all', t => {
    const first = nat(80, 8080, 'tcp', [{ family: 4, address: '20.0.0.1', length: 32 }]);
    const second = nat(80, 8080, 'tcp', [{ family: 4, address: '20.0.1.0', length: 24 }]);
    const { chains, sets } = natTable([first, nat(80, 8081, 'tcp'), second]);
    t.same(
      chains.map(({ name }) => name),
      ['80-8080-TCP', '80-8081-TCP'],
    );
    t.same(sets[0], {
      name: '80-8080-TCP-ipv4',
      type: 'ipv4_addr',
      elements: ['20.0.0.1', { prefix: { addr: '20.0.1.0', len: 24 } }],
    });
    t.same(sets[1]?.elements, []);
    t.end();
  });

  t.test('nft lists port NAT as Meridio lays it out, and the errors in a table of their own', async t => {
    const kernel = await open();
    await kernel.applyRuleset(withNats(nat(80, 8080, 'tcp'), nat(80, 8080, 'sctp')));
    const names = ['80-8080-TCP', '80-8080-SCTP'] as const;
    t.equal(
      listed(),
      natText(...names.map(setsText), chainText(names[0], 'tcp'), chainText(names[1], 'sctp')),
    );
    const snatLocal = shell('nft list table inet meridio-snat-local');
    t.equal(snatLocal.replace(/[0-9a-f]{12}"/g, '000000000000"'), SNAT_LOCAL);
    await kernel.removeRuleset();
    await kernel.applyRuleset(withNats(nat(80, 8080, 'udp')));
    t.equal(listed(), natText(setsText('80-8080-UDP'), UDP_CHAIN));
    await kernel.removeRuleset();
  });

  t.test('applied again nothing is touched, also where nft lists marks and VIPs as prefixes', async t => {
    const wanted: WantedKernel = {
      ...withNats(nat(80, 8080, 'tcp', [{ family: 6, address: '2000::', length: 64 }]), nat(1, 2, 'udp')),
      markRanges: [
        { first: 8192, last: 16383 },
        { first: 5001, last: 5100 },
        { first: 5101, last: 5200 },
        { first: 7, last: 7 },
      ],
    };
    const kernel = await open();
    await kernel.applyRuleset(wanted);
    const former = handles();
    await kernel.applyRuleset(wanted);
    await (await open()).applyRuleset(wanted);
    t.equal(handles(), former);
    t.match(shell('nft list set inet meridio-snat-local stream-marks'), /0x00001389-0x00001450/);
    await kernel.removeRuleset();
  });

  t.test('a NAT comes and goes, and what else stands stays with its handles', async t => {
    const kernel = await open();
    const [one, other] = [nat(80, 8080, 'tcp'), nat(53, 5353, 'udp')];
    await kernel.applyRuleset(withNats(one));
    const former = lasting();
    await kernel.applyRuleset(withNats(one, other));
    const between = new Set(lasting());
    t.same(
      former.filter(line => !between.has(line)),
      [],
      'coming takes nothing away',
    );
    t.match(listed(), /chain 53-5353-UDP \{\n[^\n]*priority 100; policy accept;\n\t\tip daddr/);
    await kernel.applyRuleset(withNats(one));
    t.match(listed(), /chain 53-5353-UDP \{\n[^\n]*priority 100; policy accept;\n\t\}/, 'its hook is left');
    t.notMatch(listed(), /set 53-5353/, 'and nothing else of it');
    const after = new Set(lasting());
    t.same(
      former.filter(line => !after.has(line)),
      [],
    );
    await kernel.applyRuleset(withNats(other, one));
    t.match(listed(), /chain 53-5353-UDP \{\n[^\n]*policy accept;\n\t\tip daddr/, 'it is filled again');
    await kernel.applyRuleset(withNats());
    await (await open()).applyRuleset(withNats());
    t.equal(listed(), 'table inet meridio-nat {\n}\n', 'the next process clears away');
    await kernel.removeRuleset();
  });

  t.test('other VIPs of a NAT change its sets alone', async t => {
    const kernel = await open();
    await kernel.applyRuleset(withNats(nat(80, 8080, 'tcp')));
    const chain = () => shell('nft -a -j list chain inet meridio-nat 80-8080-TCP 2>/dev/null || true');
    const former = chain();
    const vips = [{ family: 4, address: '20.0.0.0', length: 30 }] as const;
    await kernel.applyRuleset(withNats(nat(80, 8080, 'tcp', vips)));
    t.equal(chain(), former);
    t.match(listed(), /elements = \{ 20.0.0.0\/30 \}/);
    t.notMatch(listed(), /2000::1/);
    await kernel.removeRuleset();
  });

  t.test('more than 32 chains that nobody wants are cleared away at once', async t => {
    const kernel = await open();
    const many = Array.from({ length: 33 }, (_, index) => nat(1000 + index, 2000 + index, 'tcp'));
    await kernel.applyRuleset(withNats(...many));
    await kernel.applyRuleset(withNats(...many.slice(0, 1)));
    t.equal(listed().match(/chain /g)?.length, 33);
    await kernel.applyRuleset(withNats());
    t.notMatch(listed(), /chain /);
    await kernel.removeRuleset();
  });

  t.test('what another hand put into our tables is without effect or gone', async t => {
    const kernel = await open();
    const wanted = withNats(nat(80, 8080, 'tcp'));
    await kernel.applyRuleset(wanted);
    const former = listed();
    shell('nft add chain inet meridio-nat alien { type filter hook input priority 0\\; policy drop\\; }');
    shell('nft add chain inet meridio-nat helper; nft add rule inet meridio-nat alien jump helper');
    shell('nft add set inet meridio-nat s { type ipv4_addr\\; }');
    shell('nft add rule inet meridio-nat helper ip saddr @s drop');
    await kernel.applyRuleset(wanted);
    t.equal(listed(), former);
    shell('nft add map inet meridio-nat m { type ipv4_addr : verdict\\; }');
    await kernel.applyRuleset(wanted);
    t.equal(listed(), former);
    await kernel.removeRuleset();
  });

  t.test('ports inside errors have a table of their own, which is empty without NATs', async t => {
    const kernel = await open();
    const table = () => shell('nft list table inet meridio-nat-errors');
    await kernel.applyRuleset(withNats());
    t.equal(table(), 'table inet meridio-nat-errors {\n}\n');
    await kernel.applyRuleset(withNats(nat(80, 8080, 'tcp')));
    const text = table();
    for (const [chain, hook] of [
      ['in', 'prerouting'],
      ['out', 'output'],
    ]) {
      const lines = [
        `\tchain ${chain} {`,
        `type filter hook ${hook} priority 100; policy accept;`,
        'icmp type { destination-unreachable, time-exceeded, parameter-problem } jump ports',
        'icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } jump ports',
      ];
      t.ok(text.includes(`${lines.join('\n\t\t')}\n\t}\n`), text);
    }
    const comments = [...text.matchAll(/counter packets 0 bytes 0 comment "(.*) [0-9a-f]{12}"\n/g)];
    t.same(
      comments.map(([, name]) => name),
      [4, 6].flatMap(family => ['target', 'client'].map(whom => `80-8080-TCP IPv${family} to ${whom}`)),
    );
    await kernel.removeRuleset();
  });

  t.test(
    'packets that wait in a queue live through NATs that come and go; a hook that goes drops them',
    async t => {
      const waiting = 5;
      const queue = new NetfilterQueue(queueOptions());
      t.teardown(() => queue.close());
      shell('ip -n peer addr add 169.254.100.150/24 dev ext-vlan0');
      shell('ip -n peer route add 20.0.0.1 via 169.254.100.1');
      const kernel = await open();
      const wanted = (...nats: PortNat[]): WantedKernel => ({
        ...withNats(...nats),
        queues: { first: 0, last: 0 },
      });
      await kernel.applyRuleset(wanted(nat(80, 8080, 'tcp')));
      shell(`ip netns exec peer ping -q -c ${waiting} -i 0.01 -W 0.1 20.0.0.1 || true`);
      const depth = () => readQueues()[0]?.depth;
      await waitFor('the packets to be queued', 60_000, () => depth() === waiting);
      await kernel.applyRuleset(wanted(nat(80, 8080, 'tcp'), nat(53, 5353, 'udp')));
      t.equal(depth(), waiting, 'a NAT more');
      await kernel.applyRuleset(wanted(nat(53, 5353, 'udp')));
      t.equal(depth(), waiting, 'a NAT less');
      await kernel.applyRuleset(wanted());
      t.equal(depth(), waiting, 'none');
      shell(
        'nft -j -f - <<X\n{"nftables":[{"delete":{"chain":{"family":"inet","table":"meridio-nat","name":"53-5353-UDP"}}}]}\nX',
      );
      await waitFor('the kernel to drop them', 60_000, () => depth() === 0);
      await kernel.removeRuleset();
      shell('ip -n peer addr flush dev ext-vlan0');
    },
  );

  t.test('packets that wait in a queue live through a change of who puts fragments together', async t => {
    const waiting = 5;
    const queue = new NetfilterQueue(queueOptions());
    t.teardown(() => queue.close());
    shell('ip -n peer addr add 169.254.100.150/24 dev ext-vlan0');
    shell('ip -n peer route add 20.0.0.1 via 169.254.100.1');
    const kernel = await open();
    const depth = () => readQueues()[0]?.depth;
    const turnTo = (fragments: WantedKernel['fragments']) =>
      kernel.applyRuleset({ ...EXAMPLE, queues: { first: 0, last: 0 }, fragments });
    await turnTo('kernel');
    shell(`ip netns exec peer ping -q -c ${waiting} -i 0.01 -W 0.1 20.0.0.1 || true`);
    await waitFor('the packets to be queued', 60_000, () => depth() === waiting);
    for (const fragments of ['track', 'kernel', 'track', 'track'] as const) {
      await turnTo(fragments);
      t.equal(depth(), waiting, fragments);
    }
    shell('nft flush chain inet meridio-defrag in');
    await waitFor('the kernel to drop them with the last rule that tracks', 60_000, () => depth() === 0);
    await kernel.removeRuleset();
  });
}

/** Packets are left in the kernel: nothing is ever received. */
function queueOptions(): ConstructorParameters<typeof NetfilterQueue>[0] {
  const fields = { packetId: 0, offset: 4, length: 8, wireLength: 12, verdict: 16, mark: 20 };
  return {
    queue: 0,
    queueLength: 64,
    copyRange: 128,
    receiveBufferBytes: 65536,
    wake: -1,
    timeoutMs: 0,
    memory: new Uint8Array(4096),
    descriptors: 0,
    descriptorBytes: 24,
    fields,
    batch: 1,
    packets: 1024,
    packetBytes: 1024,
    clock: 512,
  };
}
