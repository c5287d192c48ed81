import t from 'tap';
import { loadConfig } from '../../host/config/load.js';
import { StaticGateways, watchedGateways } from '../../host/daemon/static-gateways.js';
import type { GatewayReach } from '../../host/kernel/gateway-reach.js';

const ADDRESS = '169.254.100.150';
const hop = (state: GatewayReach['state']): GatewayReach => ({
  family: 4,
  address: ADDRESS,
  device: 'ext-vlan0',
  state,
});
const SILENT = 'no answer from 169.254.100.150 on ext-vlan0';
const NEW = '169.254.100.150 on ext-vlan0 has not answered yet';

t.test('a gateway is lost when its entry fails, and is back when it answers', async t => {
  const gateways = new StaticGateways();
  const rows: [state: GatewayReach['state'], reason: string | undefined][] = [
    ['absent', NEW],
    ['resolving', NEW],
    ['valid', undefined],
    ['absent', undefined],
    ['resolving', undefined],
    ['failed', SILENT],
    ['resolving', SILENT],
    ['absent', SILENT],
    ['failed', SILENT],
    ['valid', undefined],
  ];
  for (const [state, reason] of rows) {
    gateways.judge([hop(state)]);
    t.equal(gateways.unreachable.get(ADDRESS), reason, state);
  }
  gateways.judge([{ ...hop('absent'), device: 'other' }]);
  t.ok(gateways.unreachable.has(ADDRESS), 'on another interface it is a new one');
});

t.test(
  'static gateways without BFD are watched; an interface that is not there is the reason of all',
  async t => {
    const config = loadConfig(
      `
vips: [20.0.0.1/32]
interfaces: {external: eth-typo}
gateways:
  - {name: a, protocol: static, ips: [169.254.100.150, "100:100::150"]}
  - {name: b, protocol: static, ips: [169.254.100.151], bfd: {}}
  - {name: c, protocol: bgp, ips: [169.254.100.152], localAsn: 1, remoteAsn: 2}
streams: [{name: a}]
flows: []
`,
      'config.yaml',
    );
    t.strictSame(
      watchedGateways(config).map(({ address }) => address),
      ['169.254.100.150', '100:100::150'],
    );
    const gateways = new StaticGateways();
    gateways.judge([hop('failed')]);
    t.strictSame([...gateways.reasons(config, [])], [[ADDRESS, SILENT]]);
    const reasons = gateways.reasons(config, ['interfaces.external: interface eth-typo does not exist']);
    t.equal(reasons.size, 4);
    t.equal(reasons.get('169.254.100.152'), 'interface eth-typo does not exist');
  },
);
