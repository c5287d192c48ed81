/** Rules of other programs: which can touch packets to VIPs, and which cannot. No root needed. */
import t from 'tap';
import { MOST_RULES, Review, type Steered } from '../../host/kernel/foreign/findings.js';
import { type ForeignChain, readLegacy, readRuleset } from '../../host/kernel/foreign/netfilter.js';
import { findingText } from '../../host/kernel/foreign/text.js';
import { FOREIGN_BITS, QUEUE_MARK } from '../../host/types/marks.js';
import { EXAMPLE } from './example.js';

const MASK = (~FOREIGN_BITS | QUEUE_MARK) >>> 0;
const XTABLES: Steered = { priority: -151, mark: { value: QUEUE_MARK, mask: MASK } };
const NFT: Steered = { priority: 0, mark: null };
const MARK = `0x${QUEUE_MARK.toString(16)}`;
const QUEUE = `meta mark & 0x${MASK.toString(16)} == ${MARK} counter packets 0 bytes 0 queue num 0-3 # handle 90`;

type Chain = readonly [name: string, type: string, ...rules: string[]];

/** As `nft -a list ruleset` prints it. @param type empty: no base chain */
const table = (name: string, ...chains: readonly Chain[]): string =>
  [
    `table ${name} { # handle 1`,
    ...chains.flatMap(([chain, type, ...rules], index) => [
      `\tchain ${chain} { # handle ${index}`,
      ...(type === '' ? [] : [`\t\ttype ${type}`]),
      ...rules.map((rule, at) => `\t\t${rule}${rule.includes('# handle') ? '' : ` # handle ${at + 10}`}`),
      '\t}',
    ]),
    '}',
    '',
  ].join('\n');
const PREROUTING = 'filter hook prerouting priority mangle; policy accept;';
const mangle = (...rules: string[]) => table('ip mangle', ['PREROUTING', PREROUTING, ...rules, QUEUE]);
const FORWARD = 'filter hook forward priority filter; policy accept;';
const forward = (...rules: string[]) => table('ip filter', ['FORWARD', FORWARD, ...rules]);

const OWN = new Set(['table inet meridio-nfqlb']);

async function lines(chains: readonly ForeignChain[], steered = XTABLES): Promise<string[]> {
  const review = new Review(EXAMPLE, steered, OWN, async () => {});
  return (await review.of(chains)).findings.map(findingText);
}

const review = async (ruleset: string, steered = XTABLES) =>
  lines(await readRuleset(ruleset, async () => {}), steered);

t.test('rules that touch packets to VIPs are named', async t => {
  const bit = `0x${(QUEUE_MARK & -QUEUE_MARK).toString(16)}`;
  const rows: [string, string, RegExp][] = [
    [
      'a chain accepts a bit of the reserved mark',
      table(
        'ip mangle',
        ['C', '', `meta mark & ${bit} == ${bit} counter packets 1 bytes 2 accept # handle 7`],
        ['PREROUTING', PREROUTING, 'counter packets 0 bytes 0 jump C', QUEUE],
      ),
      /^table ip mangle, chain C, rule "meta mark & 0x\w+ == 0x\w+ accept" \(handle 7\) accepts packets to VIPs before/,
    ],
    [
      'the mark is set before the queue',
      mangle('counter meta mark set 0x5'),
      /changes the mark of packets to VIPs/,
    ],
    [
      'the mark is changed under a mask',
      mangle('meta mark set mark and 0x0 xor 0x40000'),
      /changes the mark/,
    ],
    ['all is returned', mangle('return'), /accepts packets to VIPs before/],
    [
      'a VIP is dropped',
      mangle('ip daddr 20.0.0.0/24 drop'),
      /rule "ip daddr 20.0.0.0\/24 drop" .* drops packets to VIPs/,
    ],
    ['another queue', mangle('iifname "ext-vlan0" queue to 7'), /into the queue of another program/],
    [
      'a proxy',
      mangle('tcp dport 80 xt target TPROXY'),
      /may match: it gives packets to VIPs to a program of this host/,
    ],
    [
      'a later chain sets a bit',
      table('inet other', [
        'pre',
        'filter hook prerouting priority dstnat; policy accept;',
        'meta mark set meta mark | 0x00040000',
      ]),
      /^table inet other, chain pre, rule "meta mark set meta mark \| 0x00040000" \(handle 10\) changes the mark/,
    ],
    [
      'the destination is changed',
      table('inet other', [
        'pre',
        'filter hook prerouting priority -400; policy accept;',
        'ip daddr 20.0.0.1 ip daddr set 1.2.3.4',
      ]),
      /changes the destination of packets to VIPs/,
    ],
    [
      'the policy of forward is drop',
      table('ip filter', [
        'FORWARD',
        'filter hook forward priority filter; policy drop;',
        'ct state related,established accept',
      ]),
      /^table ip filter, chain FORWARD: its policy drops packets to VIPs: set the policy/,
    ],
    [
      'an accept that may match leaves a doubt',
      table('inet fw', ['fw', 'filter hook forward priority 5; policy drop;', 'tcp dport 80 accept']),
      /its policy may drop packets to VIPs/,
    ],
    [
      'forward rejects',
      forward('iifname "ext-*" oifname "conduit-a-*" reject with icmp port-unreachable'),
      /drops packets to VIPs/,
    ],
    ['forward drops answers', forward('ip saddr 20.0.0.1 drop'), /drops answers of VIPs/],
    [
      'forward drops a mark',
      forward('meta mark & 0x0000ffff == 0x000013b4 drop'),
      /may match: it drops packets/,
    ],
    [
      'a chain that is gone to',
      table('ip filter', ['X', '', 'drop'], ['FORWARD', FORWARD, 'goto X']),
      /chain X.*drops/,
    ],
    [
      'all but untracked is accepted',
      table('inet fw', [
        'fw',
        'filter hook forward priority 5; policy accept;',
        'ct state { untracked } drop',
      ]),
      /drops packets to VIPs/,
    ],
    [
      'the way out',
      table('ip t', [
        'c',
        'filter hook postrouting priority srcnat + 5; policy accept;',
        'oifname "conduit-a-1" drop',
      ]),
      /may match: it drops packets to VIPs/,
    ],
    [
      'the device',
      table('netdev n', [
        'i',
        'filter hook ingress device "ext-vlan0" priority filter; policy accept;',
        'drop',
      ]),
      /chain i, rule "drop" .* drops packets to VIPs/,
    ],
    [
      'a chain without a name',
      forward('tcp dport 80 jump {', '\tip daddr 20.0.0.0/8 drop', '}'),
      /may match: it drops packets/,
    ],
    [
      'another mark after a condition',
      mangle('meta mark 0x5 accept', `meta mark ${MARK} meta mark set 0x6`),
      /^\S+ \S+ \S+ \S+ PREROUTING, rule "meta mark \w+ meta mark set 0x6" .* changes/,
    ],
    ['what is not known', forward('osf name "Linux" drop'), /may match/],
    [
      'a verdict map of addresses',
      forward('ip daddr vmap { 10.0.0.0/8 : accept, 20.0.0.0/8 : drop }'),
      /rule "ip daddr vmap .*" \(handle 10\) drops packets to VIPs/,
    ],
    [
      'a verdict map of interfaces leads to a chain',
      table(
        'ip filter',
        ['X', '', 'drop'],
        ['FORWARD', FORWARD, 'iifname vmap { "lo" : accept, "ext-*" : jump X }'],
      ),
      /chain X, rule "drop" \(handle 10\) drops packets to VIPs/,
    ],
    [
      'a verdict map of marks, with further words',
      forward(
        'counter packets 1 bytes 2 meta mark vmap { 0x00000001 : accept, 0x000013b4 : drop } comment "a : b"',
      ),
      /may match: it drops packets to VIPs/,
    ],
    [
      'a verdict map accepts in front of the queue',
      mangle('meta l4proto . th dport vmap { tcp . 80 : continue, udp . 4000 : accept }'),
      /may match: it accepts packets to VIPs before/,
    ],
    [
      'a key of two parts',
      forward('ip daddr . tcp dport { 20.0.0.1 . 80 } drop'),
      /may match: it drops packets/,
    ],
    [
      'a filter of the way back',
      forward('fib saddr . mark . iif oif missing drop'),
      /may match: it drops answers/,
    ],
    [
      'its other form',
      forward('meta nfproto ipv4 fib saddr . iif oif 0 drop'),
      /may match: it drops answers/,
    ],
    ['a limit of connections', forward('ct count over 20 drop'), /may match: it drops packets/],
    ['the port is changed', mangle('tcp dport set 81'), /changes the destination of packets to VIPs/],
    [
      'packets are sent elsewhere',
      table('netdev n', [
        'i',
        'filter hook ingress device "ext-vlan0" priority 0; policy accept;',
        'fwd to "eth7"',
      ]),
      /takes packets to VIPs out of their way/,
    ],
    ['packets are answered', forward('xt target "SYNPROXY"'), /takes packets to VIPs out of their way/],
  ];
  for (const [claim, ruleset, pattern] of rows) t.match((await review(ruleset)).join('\n'), pattern, claim);
});

t.test('rules that cannot touch packets to VIPs are not named', async t => {
  const unused = [...Array(32).keys()].map(bit => (1 << bit) >>> 0).find(bit => (QUEUE_MARK & bit) === 0)!;
  const rows: [string, string][] = [
    ['other destinations', mangle('ip daddr 203.0.113.2 counter meta mark set 0x7')],
    ['all but the VIPs', mangle('ip daddr != 20.0.0.0/8 accept')],
    ['other interfaces', mangle('iifname "docker0" accept', 'iifname { "br-*", "veth1" } drop')],
    [
      'bits that the mark has not',
      mangle(`meta mark & 0x${unused.toString(16)} == 0x${unused.toString(16)} accept`),
    ],
    ['other marks', mangle('meta mark 0x5 accept', 'meta mark 0x00000005/0x0000000f accept')],
    ['marks of connections, of which there are none', mangle('meta mark set ct mark', 'ct mark 0x1 accept')],
    ['after our rule', table('ip mangle', ['PREROUTING', PREROUTING, QUEUE, 'accept', 'meta mark set 0x5'])],
    [
      'states that our packets do not have',
      forward('ct state invalid drop', 'ct state vmap { invalid : drop }'),
    ],
    ['other families', forward('ip6 daddr 2000::1 drop')],
    ['marks that no target has', forward('meta mark 0x00000005 drop')],
    ['addresses of this host', forward('fib daddr type local drop')],
    ['single clients', forward('ip saddr { 10.0.0.1, 10.0.0.2 } drop', 'ip daddr 10.0.0.1 drop')],
    [
      'other conditions before a change',
      mangle('meta mark 0x5 ct mark set 0x6', 'meta mark 0x5 meta mark set 0x6'),
    ],
    ['bits of others before our rule', mangle('counter meta mark set mark and 0xff00ffff xor 0x40000')],
    ['marks in forward', forward('meta mark set 0x5')],
    [
      'accept in another chain',
      table('inet o', ['pre', 'filter hook prerouting priority raw; policy accept;', 'accept']),
    ],
    [
      'marks before ours',
      table('inet o', ['pre', 'filter hook prerouting priority raw; policy accept;', 'meta mark set 0x5']),
    ],
    [
      'address translation',
      table('ip nat', ['PRE', 'nat hook prerouting priority dstnat; policy accept;', 'dnat to 1.2.3.4']),
    ],
    ['input and output', table('inet f', ['in', 'filter hook input priority filter; policy drop;'])],
    ['a chain that nobody jumps to', table('ip filter', ['X', '', 'drop'], ['FORWARD', FORWARD])],
    [
      'log and count',
      forward('counter packets 1 bytes 2 log prefix "drop accept " level info', 'limit rate 5/second log'),
    ],
    ['names in quotes', forward('iifname "drop" accept', 'counter comment "reject; drop"')],
    [
      'a policy that lets VIPs pass',
      table('ip filter', [
        'F',
        'filter hook forward priority 0; policy drop;',
        'ip daddr 20.0.0.1 accept',
        'ip saddr 20.0.0.1 accept',
      ]),
    ],
    ['a bridge', table('bridge b', ['f', 'filter hook forward priority 0; policy drop;'])],
    [
      'another device',
      table('netdev n', ['i', 'filter hook ingress device "eth7" priority 0; policy drop;']),
    ],
    ['our own tables', table('inet meridio-nfqlb', ['x', PREROUTING, 'drop'])],
    ['nothing', ''],
    [
      'verdict maps of other destinations, and of states that our packets do not have',
      forward(
        'ip6 daddr vmap { 2000::/16 : drop }',
        'meta nfproto vmap { ipv6 : drop }',
        'oifname vmap { "docker0" : drop }',
        'ct state vmap { established : accept, invalid : drop }',
      ),
    ],
    [
      'a policy that a verdict map lets VIPs pass',
      table('ip filter', [
        'F',
        'filter hook forward priority 0; policy drop;',
        'ct state vmap { established : accept, untracked : accept }',
      ]),
    ],
    ['copies of packets', mangle('dup to 1.2.3.4 device "eth7"')],
    [
      'a table that is switched off',
      table('inet f', ['x', 'filter hook forward priority 0; policy drop;']).replace(
        '\n',
        '\n\tflags dormant\n\n',
      ),
    ],
  ];
  for (const [claim, ruleset] of rows) t.same(await review(ruleset), [], claim);
});

t.test('where nftables queues, the chains around it are judged by their priority', async t => {
  const at = (priority: string, rule: string) =>
    review(
      table('inet o', ['pre', `filter hook prerouting priority ${priority}; policy accept;`, rule]),
      NFT,
    );
  t.same(await at('mangle', 'meta mark set 0x5'), [], 'the queue gives the mark after that');
  t.match(await at('filter + 1', 'meta mark set 0x5'), [/changes the mark/]);
  t.match(
    await at('filter', 'meta mark set 0x5'),
    [/may match|changes the mark/],
    'which comes first is not listed',
  );
  t.match(await at('mangle', 'drop'), [/drops packets to VIPs/, /drops answers of VIPs/]);
  t.same(await at('mangle', 'accept'), []);
});

t.test('tables of iptables-legacy', async t => {
  const saved = (...rules: string[]) =>
    [
      ...[
        '*mangle',
        ':PREROUTING ACCEPT [0:0]',
        '-A PREROUTING -i docker0 -j MARK --set-xmark 0x7/0xffffffff',
      ],
      ...['COMMIT', '*filter', ':FORWARD DROP [0:0]', ':DOCKER - [0:0]', ...rules, 'COMMIT', ''],
    ].join('\n');
  const read = (...rules: string[]) => lines(readLegacy(saved(...rules), 'iptables-legacy', 'ip'));
  t.match(await read('-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'), [
    /^iptables-legacy, table filter, chain FORWARD: its policy drops packets to VIPs/,
    /answers/,
  ]);
  t.same(
    await read(
      '-A FORWARD -j DOCKER',
      '-A DOCKER -d 20.0.0.0/8 -j ACCEPT',
      '-A DOCKER -s 20.0.0.0/8 -j ACCEPT',
    ),
    [],
  );
  t.match(
    await read(
      '-A FORWARD -j DOCKER',
      '-A DOCKER ! -i docker0 -m set --match-set f dst -j DROP',
      '-A DOCKER -j ACCEPT',
    ),
    [
      /chain DOCKER, rule "! -i docker0 -m set --match-set f dst -j DROP" may match: it drops packets/,
      /answers/,
    ],
  );
  t.same(
    await read('-A FORWARD -d 10.0.0.1/32 -m comment --comment "x y" -j DROP', '-A FORWARD -j ACCEPT'),
    [],
  );
  const marking =
    '*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j MARK --set-xmark 0x40000/0xff0000\nCOMMIT\n';
  t.match(await lines(readLegacy(marking, 'iptables-legacy', 'ip')), [/changes the mark/]);
});

t.test('texts of rules are short, and steer no terminal', async t => {
  const long = `ip daddr { ${Array.from({ length: 99 }, (_, i) => `20.0.0.${i}`).join(', ')} } drop comment "\u001b[31m"`;
  const [line = ''] = await review(forward(long));
  t.ok(line.length < 400, `${line}`);
  t.notMatch((await review(forward('drop comment "\u001b[31m\u202e"'))).join(), /\p{Cc}|\p{Cf}/u);
});

t.test('thousands of rules are looked at in bounded time, and a bound is told', async t => {
  const rules = Array.from(
    { length: 10_000 },
    (_, i) => `ip daddr 10.${i >> 8}.${i & 255}.1 tcp dport { 80, 443 } drop`,
  );
  const chains = await readRuleset(forward(...rules), async () => {});
  let rests = 0;
  let longest = 0;
  let last = performance.now();
  const rest = async () => {
    rests += 1;
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const findings = await new Review(EXAMPLE, XTABLES, OWN, rest).of(chains);
  t.ok(findings.isCapped);
  t.ok(rests >= MOST_RULES / 100 - 1, `${rests} rests, ${longest.toFixed(1)} ms between them at most`);
});
