import t from 'tap';
import { gatewayReach } from '../../host/kernel/gateway-reach.js';
import { missingInterfaces } from '../../host/kernel/interfaces.js';
import { type NeighbourState, neighbourKey } from '../../host/kernel/neighbour.js';

const PRESENT = new Set(['lo', 'ext-vlan0', 'conduit-a-1']);

t.test('names and patterns that no interface has are named', async t => {
  const missing = (external: string | null, ...internal: string[]) =>
    missingInterfaces({ external, internal }, PRESENT);
  t.strictSame(missing('ext-vlan0', 'conduit-a-*', 'conduit-a-1', '*'), []);
  t.strictSame(missing(null), []);
  t.strictSame(missing('eth-typo', 'conduit-b-*', 'conduit-a', 'conduit-a-1'), [
    'interfaces.external: interface eth-typo does not exist',
    'interfaces.internal: no interface matches conduit-b-*',
    'interfaces.internal: interface conduit-a does not exist',
  ]);
});

t.test('a gateway is judged by its entry on the interface that leads to it', async t => {
  const host = { family: 4, address: '169.254.100.150' } as const;
  const hop = (device: string, state: NeighbourState) =>
    new Map([[neighbourKey({ address: host.address, device }), state]]);
  const reach = (external: string | null, device: string | null, listed: Map<string, NeighbourState>) =>
    gatewayReach(
      { gateways: [host], interfaces: { external, internal: [] } },
      { deviceOf: () => device },
      PRESENT,
      listed,
    );
  t.match(reach('ext-vlan0', null, hop('ext-vlan0', 'failed')), [{ device: 'ext-vlan0', state: 'failed' }]);
  t.match(reach('ext-vlan0', null, hop('conduit-a-1', 'valid')), [{ state: 'absent' }]);
  t.match(reach(null, 'conduit-a-1', hop('conduit-a-1', 'valid')), [{ state: 'valid' }]);
  t.strictSame(reach(null, null, new Map()), [], 'main does not say where it is');
  t.strictSame(reach('eth-typo', null, new Map()), [], 'there is nowhere to ask');
});
