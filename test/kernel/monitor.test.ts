/** What the monitors' lines mean, and that the real ones tell it. */
import t from 'tap';
import { ipEvent, nftEvent } from '../../host/kernel/monitor.js';
import { addressKey } from '../../host/types/address.js';

t.test('lines of ip monitor', t => {
  const neighbour = (address: string, state: string, linkAddress: string | null, permanent = false) => ({
    kind: 'neighbour',
    address: addressKey(address),
    state,
    linkAddress,
    permanent,
  });
  const rows: [line: string, event: unknown][] = [
    [
      '2: v0@v1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default \\    link/ether 22:12',
      { kind: 'links' },
    ],
    ['Deleted 3: v0    inet6 fd00::1/64 scope global nodad \\       valid_lft forever', { kind: 'links' }],
    ['99:\tfrom all fwmark 0x13b4 lookup 5044 ', { kind: 'rules' }],
    ['Deleted 99:\tfrom all fwmark 0x13b4 lookup 5044', { kind: 'rules' }],
    ['default via 10.0.0.2 dev v0 table 5044 ', { kind: 'routes', table: 5044, direct: false }],
    [
      'Deleted default via fd00::2 dev v0 table 5044 metric 1024 pref medium',
      { kind: 'routes', table: 5044, direct: false },
    ],
    ['blackhole default table 4097 ', { kind: 'routes', table: 4097, direct: false }],
    ['Deleted 6 default table 4097 ', { kind: 'routes', table: 4097, direct: false }],
    ['6 default table 4097 ', { kind: 'routes', table: 4097, direct: false }],
    ['10.0.0.0/24 dev v0 proto 2 scope 253 src 10.0.0.1 ', { kind: 'routes', table: null, direct: true }],
    ['2 20.0.0.0/16 dev lo table 255 scope 254 ', { kind: 'links' }],
    ['Deleted 6 20.0.0.0/16 table 255 ', { kind: 'links' }],
    ['10.0.0.2 dev v0 FAILED ', neighbour('10.0.0.2', 'failed', null)],
    [
      '10.0.0.2 dev v0 lladdr 02:fe:c2:14:ec:dd REACHABLE ',
      neighbour('10.0.0.2', 'valid', '02:fe:c2:14:ec:dd'),
    ],
    [
      'fd00::2 dev v0 lladdr 02:fe:c2:14:ec:dd router STALE ',
      neighbour('fd00::2', 'valid', '02:fe:c2:14:ec:dd'),
    ],
    [
      '10.0.0.2 dev v0 lladdr 02:fe:c2:14:ec:dd PERMANENT ',
      neighbour('10.0.0.2', 'valid', '02:fe:c2:14:ec:dd', true),
    ],
    [
      'Deleted 10.0.0.2 dev v0 lladdr 02:fe:c2:14:ec:dd STALE ',
      neighbour('10.0.0.2', 'evicted', '02:fe:c2:14:ec:dd'),
    ],
    ['Deleted 10.0.0.2 dev v0 FAILED ', neighbour('10.0.0.2', 'gone', null)],
    ['inet all forwarding off ', { kind: 'settings' }],
    ['inet6 v0 forwarding on ', { kind: 'settings' }],
    ['', null],
  ];
  for (const [line, event] of rows) t.same(ipEvent(line), event, line);
  t.end();
});

t.test('lines of nft monitor: those of our tables, and of chains and rules of others', t => {
  const rows: [line: string, kind: 'ruleset' | 'foreign' | null][] = [
    ['add rule inet meridio-nfqlb nfqlb counter packets 0 bytes 0', 'ruleset'],
    ['delete chain inet meridio-nat 80-8080-TCP', 'ruleset'],
    ['delete table inet meridio-defrag', 'ruleset'],
    ['add element inet meridio-nfqlb ipv4-vips { 20.0.0.9 }', 'ruleset'],
    ['delete rule ip mangle PREROUTING handle 5', 'ruleset'],
    ['add table inet mine', 'foreign'],
    ['insert rule inet mine c drop', 'foreign'],
    ['add element inet mine s { 20.0.0.9 }', null],
    ['# new generation 2 by process 29971 (nft)', null],
  ];
  for (const [line, kind] of rows) t.same(nftEvent(line), kind === null ? null : { kind }, line);
  t.end();
});
