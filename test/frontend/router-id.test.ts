import t from 'tap';
import { deriveRouterId, type InterfaceAddress } from '../../host/frontend/router-id.js';

const address = (name: string, text: string): InterfaceAddress => ({
  name,
  family: text.includes(':') ? 6 : 4,
  address: text,
});
const LOOPBACK = [address('lo', '127.0.0.1'), address('lo', '::1')];
const INTERNAL = [address('conduit', '172.16.0.4'), address('conduit', 'fd00::4')];
const IPV6 = [address('ext', 'fe80::1'), address('ext', '100:100::149')];

const ROWS: readonly [claim: string, addresses: readonly InterfaceAddress[], id: RegExp][] = [
  [
    "the external interface's IPv4 address is taken, also a link-local one",
    [...LOOPBACK, ...INTERNAL, ...IPV6, address('ext', '169.254.100.149')],
    /^169\.254\.100\.149$/,
  ],
  [
    'else another IPv4 address that is global',
    [...LOOPBACK, address('x', '169.254.0.1'), ...IPV6, ...INTERNAL],
    /^172\.16\.0\.4$/,
  ],
  [
    "else a hash of the external interface's IPv6 address",
    [...LOOPBACK, address('a', 'fd00::9'), ...IPV6],
    /^[0-9]+(\.[0-9]+){3}$/,
  ],
  ['without any address it is not 0', LOOPBACK, /^0\.0\.0\.1$/],
];
for (const [claim, addresses, id] of ROWS) {
  t.test(claim, async t => {
    t.match(deriveRouterId(addresses, 'ext'), id);
  });
}

t.test('the hash is of the global address, however it is written, and differs between hosts', async t => {
  const of = (...texts: string[]) =>
    deriveRouterId(
      texts.map(text => address('ext', text)),
      'ext',
    );
  t.equal(of('fe80::1', '100:100::149'), of('100:100:0:0::149', 'fe80::2'));
  const many = Array.from({ length: 1000 }, (_, index) => of(`100:100::${index.toString(16)}`));
  t.equal(new Set(many).size, many.length);
  t.notOk(many.includes('0.0.0.0'));
  t.not(of('fe80::1'), of('fe80::2'), 'link-local ones serve where there is no other');
});
