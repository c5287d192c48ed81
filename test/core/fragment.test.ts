import t from 'tap';
import { Simulator } from '../../host/simulator/simulator.js';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { be16, icmp, ip, SCTP, TCP, transport, UDP } from '../fixture/packet.js';

const simulator = Simulator.fromConfig(
  configOf({
    streams: [streamOf('s', 10, { 1: 5001, 2: 5002 })],
    flows: [flowOf('sctp', 's', { protocols: ['sctp'], udpEncapPort: 9899 }), flowOf('all', 's')],
  }),
);

/** The fragment that `packet` is, as the simulator tells it. */
function fragmentOf(packet: Uint8Array) {
  simulator.decide(packet);
  return simulator.fragment;
}

t.test('what tells fragments apart is the outer header, whatever the packet carries', t => {
  const client = '192.0.2.7';
  const vip = '20.0.0.1';
  const encapsulated = transport(UDP, 9899, 9899, transport(SCTP, 5000, 6000));
  const inner = ip(vip, client, TCP, transport(TCP, 4000, 1000), { fragment: 0x2000, id: 99 });
  const error = icmp(3, 4, [0, 0, 5, 0x78], inner);
  const rows: [string, number, number[]][] = [
    ['UDP', UDP, transport(UDP, 1, 2)],
    ['SCTP inside UDP', UDP, encapsulated],
    ['an error about a fragment', 1, error],
  ];
  for (const [claim, protocol, payload] of rows) {
    const first = fragmentOf(ip(client, vip, protocol, payload, { fragment: 0x2000, id: 7 }));
    const later = fragmentOf(ip(client, vip, protocol, [1, 2, 3], { fragment: 0x0007, id: 7 }));
    const other = fragmentOf(ip(client, vip, protocol, [1, 2, 3], { fragment: 0x0007, id: 8 }));
    t.equal(first?.first, true, claim);
    t.equal(later?.first, false, claim);
    t.equal(later?.packet, first?.packet, `${claim}: a later fragment finds its first`);
    t.not(other?.packet, first?.packet, `${claim}: that of another packet does not`);
  }
  t.end();
});

t.test('IPv6 fragments are told apart by addresses and identification alone', t => {
  const fragment = (next: number, offset: number, id: number) => [
    next,
    0,
    ...be16(offset),
    0,
    0,
    ...be16(id),
  ];
  const packet = (next: number, offset: number, id: number, payload: number[]) =>
    ip('2001:db8::7', '2000::1', 44, payload, { options: fragment(next, offset, id) });
  const inner = ip('2000::1', '2001:db8::7', 44, transport(TCP, 4000, 1000), {
    options: fragment(TCP, 1, 99),
  });
  const first = fragmentOf(packet(58, 1, 7, icmp(2, 0, [0, 0, 5, 0x78], inner)));
  t.equal(first?.first, true);
  t.strictSame(fragmentOf(packet(60, 0x40, 7, [1])), { first: false, packet: first?.packet });
  t.not(fragmentOf(packet(58, 0x40, 8, [1]))?.packet, first?.packet);
  t.equal(fragmentOf(packet(UDP, 0, 7, transport(UDP, 1, 2))), null, 'an atomic fragment is a whole packet');
  t.end();
});
