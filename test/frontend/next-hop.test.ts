import t from 'tap';
import { loadConfig } from '../../host/config/load.js';
import { refuseNoNextHop } from '../../host/daemon/refusal.js';
import { nextHopOf } from '../../host/frontend/next-hop.js';

const at = (name: string, address: string) =>
  ({ name, family: address.includes(':') ? 6 : 4, address }) as const;
const LINK_LOCAL = [at('ext', 'fe80::1'), at('ext', '10.0.0.1'), at('in', 'fd00::1')];

t.test('the next hop is a global address of the external interface, the former one if it stays', async t => {
  const two = [...LINK_LOCAL, at('ext', '100:100::1'), at('ext', '100:100::2')];
  t.equal(nextHopOf(two, 'ext'), '100:100::1');
  t.equal(nextHopOf(two, 'ext', '100:100::2'), '100:100::2');
  t.equal(nextHopOf(two, 'ext', '100:100::3'), '100:100::1');
  t.equal(nextHopOf(LINK_LOCAL, 'ext', 'fd00::1'), null);
});

t.test('a session over link-local addresses is refused where the interface has no global one', async t => {
  const config = (ip: string, protocol = 'bgp, localAsn: 1, remoteAsn: 2') =>
    loadConfig(
      `
vips: ["2000::1/128"]
interfaces: {external: ext}
gateways: [{name: g, ips: ["${ip}"], protocol: ${protocol}}]
streams: [{name: a}]
flows: []
`,
      'config.yaml',
    );
  t.throws(() => refuseNoNextHop(config('fe80::150'), LINK_LOCAL), {
    code: 'CONFIG_INVALID',
    message:
      /^gateway g: fe80::150 is link-local, and ext has no global IPv6 address that VIPs could be announced with/,
  });
  refuseNoNextHop(config('fe80::150'), [...LINK_LOCAL, at('ext', '100:100::1')]);
  refuseNoNextHop(config('100:100::150'), LINK_LOCAL);
  refuseNoNextHop(config('fe80::150', 'static'), LINK_LOCAL);
});
