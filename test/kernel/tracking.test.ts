import t from 'tap';
import { legacyTrackingRules, trackingRules, trackingWarnings } from '../../host/kernel/tracking.js';

const table = (family: string, ...rules: string[]) =>
  [
    `table ${family} t {`,
    '\tset s {',
    '\t\ttype ipv4_addr',
    '\t}',
    '\tchain c {',
    ...rules.map(rule => `\t\t${rule}`),
    '\t}',
    '}',
  ].join('\n');

t.test('a rule needs connection tracking by what it asks and does, not by what it is called', t => {
  const rows: [string, boolean][] = [
    ['type filter hook prerouting priority raw; policy accept;', false],
    ['notrack', false],
    ['ct state untracked accept', true],
    ['ct state established,related counter packets 3 bytes 9 accept', true],
    ['meta mark set ct mark', true],
    ['counter packets 0 bytes 0 masquerade', true],
    ['tcp dport 80 dnat to 10.0.0.1:80', true],
    ['ip saddr 10.0.0.0/8 snat to 192.0.2.1', true],
    ['redirect', true],
    ['ip protocol tcp flow add @f', true],
    ['xt match "conntrack" counter packets 0 bytes 0 accept', true],
    ['xt target "CONNMARK"', true],
    ['xt match connlimit counter packets 0 bytes 0 accept', true],
    ['meta l4proto tcp counter packets 0 bytes 0 xt target TPROXY', true],
    ['xt target CT', true],
    ['xt match recent counter', false],
    ['xt target CTX', false],
    ['accept comment "xt match socket accept"', false],
    ['xt match "addrtype" accept', false],
    ['iifname "ct" accept', false],
    ['accept comment "about ct state new"', false],
    ['ip daddr @ct-hosts accept', false],
    ['log prefix "dnat to nowhere "', false],
  ];
  for (const [rule, needs] of rows) t.equal(trackingRules(table('ip', rule)).length, needs ? 1 : 0, rule);
  t.strictSame(trackingRules(table('bridge', 'ct state new')), [], 'of another family it is no matter');
  t.strictSame(
    trackingRules(table('inet', 'tcp dport 80 jump {', '\tct state new accept', '}', 'accept')),
    [{ place: 'table inet t, chain c', rule: 'ct state new accept' }],
    'in a chain without a name',
  );
  t.strictSame(trackingRules(table('inet', 'counter packets 3 bytes 9 ct state new accept')), [
    { place: 'table inet t, chain c', rule: 'ct state new accept' },
  ]);
  t.strictSame(trackingRules(table('inet', 'counter ct state new counter'))[0]!.rule, 'ct state new counter');
  t.strictSame(trackingRules(table('inet', 'ct state new counter'))[0]!.rule, 'ct state new');
  t.end();
});

t.test('rules of iptables-legacy are told by their table', t => {
  const saved = `*filter
:INPUT ACCEPT [0:0]
-A FORWARD -m state --state NEW -j ACCEPT
-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
*raw
-A PREROUTING -j CT --notrack
-A PREROUTING -j CT --helper ftp
COMMIT
`;
  t.strictSame(legacyTrackingRules(saved, 'iptables-legacy'), [
    { place: 'iptables-legacy, table filter', rule: '-A FORWARD -m state --state NEW -j ACCEPT' },
    { place: 'iptables-legacy, table raw', rule: '-A PREROUTING -j CT --helper ftp' },
  ]);
  t.end();
});

t.test('each place is told once, our own rule is no matter', t => {
  const own = { place: 'table inet meridio-defrag, chain in', rule: 'ct state untracked accept' };
  const nat = { place: 'table ip nat, chain POSTROUTING', rule: 'masquerade' };
  t.match(trackingWarnings([nat, own, nat]), [
    /table ip nat, chain POSTROUTING has the kernel track connections \("masquerade"\)/,
  ]);
  t.strictSame(trackingWarnings([]), []);
  t.end();
});
