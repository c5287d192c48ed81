import t from 'tap';
import { type Reply, ReplyReader } from '../../host/frontend/reply.js';
import { readSessions, sessionsWithout, stoppedProtocols } from '../../host/frontend/session.js';
import type { Bfd, BgpGateway, Gateway } from '../../host/types/config.js';

const BFD: Bfd = { minRxMs: 300, minTxMs: 300, multiplier: 3 };
const bgp = (address: string, bfd: Bfd | null): BgpGateway => ({
  name: `of ${address}`,
  protocol: 'bgp',
  ips: [{ family: address.includes(':') ? 6 : 4, address }],
  bfd,
  localAsn: 1,
  remoteAsn: 2,
  localPort: 179,
  remotePort: 179,
  holdTimeSeconds: 9,
  passwordFile: null,
});
const fixed = (address: string, bfd: Bfd | null): Gateway => ({
  name: `of ${address}`,
  protocol: 'static',
  ips: [{ family: 4, address }],
  bfd,
});

const PROTOCOLS = reply(`2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-24 15:19:23.131  
1002-gateway-10.0.0.1 BGP        ---        up     2026-11-24 15:19:24.119  Established   
1006-  BGP state:          Established
       Routes:         1 imported, 1 exported, 1 preferred
1002-gateway-fd00::2 BGP        ---        up     2026-11-24 15:19:24.119  Established   
1002-gateway-10.0.0.3 BGP        ---        start  2026-11-24 15:19:25.000  Active        Socket: Connection refused
1002-gateway-10.0.0.4 Static     gateways4  up     2026-11-24 15:19:23.131  
1006-  Channel ipv4
       Routes:         1 imported, 0 exported, 1 preferred
1002-gateway-10.0.0.5 Static     gateways4  up     2026-11-24 15:19:23.131  
1006-  Channel ipv4
       Routes:         0 imported, 0 exported, 0 preferred
0000 
`);
const SESSIONS = reply(`1020-bfd-gateways:
 IP address                Interface  State      Since         Interval  Timeout
 10.0.0.1                  ext-vlan0  Up         2026-11-24 15:19:23.133    0.300    0.900
 fd00::2                   ext-vlan0  Down       2026-11-24 15:19:30.000    1.000    0.000
 10.0.0.5                  ext-vlan0  Down       2026-11-24 15:19:31.000    1.000    0.000
0000 
`);

function reply(text: string): Reply {
  return new ReplyReader().push(text)[0]!;
}

const at = (time: string): string => new Date(`2026-11-24T${time}`).toISOString();

t.test("each gateway's address is told with what BIRD says of it", async t => {
  const gateways = [
    bgp('10.0.0.1', BFD),
    bgp('fd00::2', BFD),
    bgp('10.0.0.3', null),
    fixed('10.0.0.4', null),
    fixed('10.0.0.5', BFD),
    bgp('10.0.0.6', null),
  ];
  const sessions = readSessions(gateways, PROTOCOLS, SESSIONS);
  t.strictSame(
    sessions.map(({ address, up, bfd, since, info }) => [address, up, bfd, since, info]),
    [
      ['10.0.0.1', true, 'up', at('15:19:24.119'), 'Established'],
      ['fd00::2', false, 'down', at('15:19:30.000'), 'Established'],
      ['10.0.0.3', false, 'none', at('15:19:25.000'), 'Active  Socket: Connection refused'],
      ['10.0.0.4', true, 'none', at('15:19:23.131'), 'Route stands'],
      ['10.0.0.5', false, 'down', at('15:19:31.000'), 'No route: its link or BFD is down'],
      ['10.0.0.6', false, 'none', null, 'BIRD does not list it'],
    ],
  );
  t.match(sessions[1], { gateway: 'of fd00::2', family: 6, protocol: 'bgp' });
});

t.test('without BIRD every session is down', async t => {
  t.strictSame(sessionsWithout([fixed('10.0.0.5', BFD)], 'why'), [
    {
      gateway: 'of 10.0.0.5',
      address: '10.0.0.5',
      family: 4,
      protocol: 'static',
      up: false,
      bfd: 'down',
      since: null,
      info: 'why',
    },
  ]);
});

t.test('protocols that BIRD has ended are found', async t => {
  const ended =
    reply(`1002-gateway-10.0.0.1 BGP        ---        down   2026-11-24 15:19:24.119  Error: No listening socket
1002-gateway-10.0.0.3 BGP        ---        start  2026-11-24 15:19:25.000  Active        Socket: Connection refused
0000 
`);
  t.strictSame(stoppedProtocols(ended), ['gateway-10.0.0.1']);
  t.strictSame(stoppedProtocols(PROTOCOLS), []);
});
