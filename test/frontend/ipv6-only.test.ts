import { deriveRouterId } from '../../host/frontend/router-id.js';
import { insideNamespace, shell } from '../kernel/namespace.js';
import {
  ASN,
  allUp,
  bgpGateway,
  egressTable,
  endNetwork,
  HERE,
  hostsOf,
  makeNetwork,
  openFrontend,
  startRouter,
  until,
  VIP6,
  wantedFrontend,
} from './network.js';

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  t.setTimeout(300_000);
  makeNetwork(1, false);
  t.teardown(endNetwork);

  t.test('a host without IPv4 announces its VIPs with a derived router id', async t => {
    const router = await startRouter(0, { neighbours: [{ family: 6, address: HERE[6], asn: ASN.here }] });
    const { frontend, files } = openFrontend();
    t.teardown(async () => {
      await frontend.stop();
      await router.stop();
    });
    const addresses = [{ name: 'ext-vlan0', family: 6, address: HERE[6] }] as const;
    const routerId = deriveRouterId(addresses, 'ext-vlan0');
    const gateways = [bgpGateway(0, { ips: hostsOf(0).slice(1) })];
    await frontend.set(wantedFrontend({ routerId, gateways, announced: [VIP6] }));
    await until('it is known', async () => allUp(frontend.state()) && (await router.knows(VIP6)));
    await until('a default route', () => egressTable(6) !== '');
    t.equal(egressTable(6), 'default via 100:100::150 dev ext-vlan0 proto bird metric 32 pref medium\n');
    t.match(shell(`birdc -s ${files}/bird.ctl show status`), `Router ID is ${routerId}`);
    t.equal(egressTable(4), '');
  });
}
