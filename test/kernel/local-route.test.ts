/** Which VIPs the kernel's table local takes, and what is said of them. */
import t from 'tap';
import { lostVips, lostVipText, parseLocalRoutes } from '../../host/kernel/local-route.js';
import { parseRules } from '../../host/kernel/rule.js';
import type { Prefix } from '../../host/types/config.js';

const VIPS: readonly Prefix[] = [
  { family: 4, address: '20.0.0.1', length: 32 },
  { family: 4, address: '20.1.0.0', length: 24 },
  { family: 6, address: '2000::1', length: 128 },
];
const LOCAL_FIRST = ([4, 6] as const).map(family =>
  parseRules(family, [{ priority: 0, src: 'all', table: '255' }] as never[]),
);

/** As `ip -N -j route show table local` prints them. */
const rows: readonly (readonly [claim: string, family: 4 | 6, entry: object, texts: readonly RegExp[]])[] = [
  [
    'an address of an interface',
    4,
    { type: '2', dst: '20.0.0.1', dev: 'lo', protocol: '2' },
    [
      /^VIP 20\.0\.0\.1\/32 receives no traffic and is withdrawn: 20\.0\.0\.1 is an address of lo, .*: remove that address/,
    ],
  ],
  [
    'an IPv6 address',
    6,
    { type: '2', dst: '2000::1', dev: 'eth0', protocol: '2' },
    [/2000::1 is an address of eth0/],
  ],
  [
    'an anycast address',
    6,
    { type: '4', dst: '2000::1', dev: 'eth0', protocol: '2' },
    [/anycast 2000::1 belongs to/],
  ],
  [
    'a route of an administrator',
    4,
    { type: '2', dst: '20.0.0.0/8', dev: 'lo' },
    [
      /VIP 20\.0\.0\.1\/32 .*: remove it \(ip -4 route del local 20\.0\.0\.0\/8 dev lo table local\)/,
      /VIP 20\.1\.0\.0\/24 receives no traffic and/,
    ],
  ],
  ['everything', 6, { type: '2', dst: 'default', dev: 'lo' }, [/VIP 2000::1\/128 /]],
  [
    'a broadcast address',
    4,
    { type: '3', dst: '20.0.0.1', dev: 'x', protocol: '2' },
    [/broadcast 20\.0\.0\.1 belongs to an address of x/],
  ],
  ['a dead end', 4, { type: '7', dst: '20.0.0.1' }, [/table local has the route unreachable 20\.0\.0\.1, /]],
  ['a way to elsewhere', 4, { dst: '20.0.0.1', dev: 'x' }, [/unicast 20\.0\.0\.1 dev x/]],
  [
    'a part of a VIP',
    4,
    { type: '2', dst: '20.1.0.7', dev: 'lo', protocol: '2' },
    [/^VIP 20\.1\.0\.0\/24 receives no traffic for some of its addresses/],
  ],
  ['a throw', 4, { type: '9', dst: '20.0.0.0/8' }, []],
  ['another address', 4, { type: '2', dst: '20.0.0.2', dev: 'lo', protocol: '2' }, []],
];

t.test('each route of table local that takes packets to a VIP is named, with what to do', t => {
  for (const [claim, family, entry, texts] of rows) {
    const lost = lostVips(VIPS, parseLocalRoutes(family, [entry as never]), LOCAL_FIRST, 99).map(lostVipText);
    t.equal(lost.length, texts.length, `${claim}: ${lost}`);
    for (const [index, text] of texts.entries()) t.match(lost[index], text, claim);
  }
  t.end();
});

t.test('a table local that is asked after our rules takes nothing', t => {
  const routes = parseLocalRoutes(4, [{ type: '2', dst: '20.0.0.1', dev: 'lo' }]);
  const later = [parseRules(4, [{ priority: 1000, src: 'all', table: '255' }] as never[])];
  t.same(lostVips(VIPS, routes, later, 99), []);
  t.same(lostVips(VIPS, routes, [parseRules(4, [])], 99), []);
  t.end();
});
