/** What differs between two configurations, by name. */
import t from 'tap';
import { configChanges, configurationDifferences, shortChanges } from '../../host/config/changes.js';
import { loadConfig } from '../../host/config/load.js';

const BASE = `
interfaces: {external: eth0}
vips: [20.0.0.1/32, "2000::1/128"]
gateways: [{name: g, protocol: static, ips: [169.254.100.150]}, {name: h, protocol: static, ips: [169.254.100.151]}]
portNats: [{port: 80, targetPort: 8080, protocol: tcp, vips: [20.0.0.1/32]}]
streams:
  - name: web
    maxTargets: 10
    targets: [{identifier: 1, ips: [172.16.0.1, "fd00::1"]}, {identifier: 2, ips: [172.16.0.2, "fd00::2"]}]
  - name: dns
    maxTargets: 10
flows:
  - {name: http, stream: web, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["80"]}
  - {name: dns, stream: dns, priority: 1, protocols: [udp], vips: [20.0.0.1/32]}
`;
const changes = (from: string, to: string) =>
  configChanges(loadConfig(from, 'a.yaml'), loadConfig(to, 'b.yaml'));

/** Each row: what is replaced in BASE by what, and what that adds, removes and changes. */
const ROWS: readonly (readonly [
  claim: string,
  from: string | RegExp,
  to: string,
  ReturnType<typeof changes>,
])[] = [
  ['the same', 'web', 'web', { added: [], removed: [], changed: [] }],
  [
    'a health check comes',
    'maxTargets: 10\n    targets',
    'maxTargets: 10\n    healthCheck: {type: tcp, port: 80}\n    targets',
    { added: ['stream web: healthCheck'], removed: [], changed: [] },
  ],
  [
    'a target goes',
    ', {identifier: 2, ips: [172.16.0.2, "fd00::2"]}',
    '',
    { added: [], removed: ['web/2'], changed: [] },
  ],
  [
    'a target has another address',
    '"fd00::2"',
    '"fd00::3"',
    { added: [], removed: [], changed: ['web/2: ips'] },
  ],
  [
    'targets change places',
    /\[(\{identifier: 1,[^}]*\}), (\{identifier: 2,[^}]*\})\]/,
    '[$2, $1]',
    { added: [], removed: [], changed: ['stream web: order of targets'] },
  ],
  [
    'a stream has other marks, and its targets by that',
    'maxTargets: 10\n    targets',
    'maxTargets: 10\n    fwmarkOffset: 7000\n    targets',
    { added: [], removed: [], changed: ['stream web: fwmarkOffset', 'stream dns: fwmarkOffset'] },
  ],
  [
    'a VIP comes and another goes',
    'vips: [20.0.0.1/32, "2000::1/128"]\ngateways',
    'vips: [20.0.0.0/24, 20.0.0.1/32, "2000::1/128"]\ngateways',
    { added: ['vip 20.0.0.0/24'], removed: [], changed: [] },
  ],
  [
    'a flow is renamed',
    'name: dns, stream',
    'name: names, stream',
    { added: ['flow names'], removed: ['flow dns'], changed: [] },
  ],
  [
    'a flow matches other ports',
    '["80"]',
    '["80-81"]',
    { added: [], removed: [], changed: ['flow http: destinationPortRanges'] },
  ],
  [
    'a gateway gets BFD',
    'ips: [169.254.100.150]}',
    'ips: [169.254.100.150], bfd: {}}',
    { added: ['gateway g: bfd'], removed: [], changed: [] },
  ],
  [
    'gateways change places',
    /\[(\{name: g,[^}]*\}), (\{name: h,[^}]*\})\]/,
    '[$2, $1]',
    { added: [], removed: [], changed: ['order of gateways'] },
  ],
  ['a port NAT goes', /portNats.*\n/, '', { added: [], removed: ['portNat tcp 80 to 8080'], changed: [] }],
  [
    'other keys bear the names of the file',
    /^/,
    'shutdownDelay: 3s\nqueueLength: 2048\nmetrics: {address: "127.0.0.1:9090"}\nhashMode: five-tuple\n',
    { added: ['metrics'], removed: [], changed: ['queueLength', 'hashMode', 'shutdownDelay'] },
  ],
];

t.test('each part that differs has its name, in both directions', async t => {
  for (const [claim, from, to, wanted] of ROWS) {
    const other = BASE.replace(from, to);
    if (claim !== 'the same') t.not(other, BASE, claim);
    t.strictSame(changes(BASE, other), wanted, claim);
    const back = changes(other, BASE);
    t.strictSame([back.added, back.removed], [wanted.removed, wanted.added], `${claim}, back`);
  }
});

t.test('a stream that goes goes with its targets', async t => {
  const without = BASE.replace(/ {2}- name: web\n.*\n.*\n/, '')
    .replace(/ {2}- \{name: http.*\n/, '')
    .replace('- name: dns\n', '- name: dns\n    fwmarkOffset: 5010\n');
  t.strictSame(changes(BASE, without), {
    added: [],
    removed: ['stream web', 'web/1', 'web/2', 'flow http'],
    changed: [],
  });
});

t.test('of many names a log line has 20 of a kind and a count; diff has all', async t => {
  const target = (identifier: number) =>
    `{identifier: ${identifier}, ips: [172.16.0.${identifier}, "fd00::${identifier}"]}`;
  const targets = Array.from({ length: 23 }, (_, index) => target(index + 1));
  const many = BASE.replace(
    'maxTargets: 10\n    targets: [',
    `maxTargets: 30\n    targets: [${targets.slice(2).join(', ')}, `,
  ).replace('- name: web', '- name: web\n    fwmarkOffset: 5000');
  const all = changes(BASE.replace('maxTargets: 10\n    t', 'maxTargets: 30\n    t'), many);
  t.equal(all.added.length, 21);
  const short = shortChanges(all);
  t.equal(short.added?.length, 21);
  t.equal(short.added?.at(-1), 'and 1 more');
  t.notOk('removed' in short, 'kinds without names are absent');
  t.match(configurationDifferences(all)[20], { of: 'configuration', kind: 'missing', what: 'web/23' });
});
