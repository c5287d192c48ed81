/** Why a next hop cannot be reached, by the addresses of this host. */
import t from 'tap';
import { interfaceNetworks, nextHopFault } from '../../host/kernel/next-hop.js';
import { host } from './example.js';

const networks = interfaceNetworks([
  { ifname: 'lo', flags: ['LOOPBACK', 'UP'], addr_info: [{ local: '127.0.0.1', prefixlen: 8 }, {}] },
  {
    ifname: 'in0',
    flags: ['BROADCAST', 'UP', 'LOWER_UP'],
    addr_info: [
      { local: '172.16.0.4', prefixlen: 24 },
      { local: 'fd00::4', prefixlen: 64 },
    ],
  },
  { ifname: 'in1', flags: ['BROADCAST'], addr_info: [{ local: '172.16.1.4', prefixlen: 24 }] },
]);

t.test('each cause has its words', t => {
  const none = 'no interface that is up has an address in the network of';
  for (const [address, wanted] of [
    ['172.16.0.6', null],
    ['fd00::6', null],
    ['192.168.77.7', `${none} 192.168.77.7`],
    ['fd00:0:0:1::6', `${none} fd00:0:0:1::6`],
    ['172.16.1.6', `${none} 172.16.1.6: in1 has one and is down`],
    ['172.16.0.4', '172.16.0.4 is an address of this host itself, on in0'],
    ['fd00:0::4', 'fd00:0::4 is an address of this host itself, on in0'],
  ] as const) {
    t.equal(nextHopFault(host(address), networks), wanted, address);
  }
  t.end();
});
