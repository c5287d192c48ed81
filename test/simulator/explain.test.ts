/** Rows of packets in, what was decided and why not otherwise out. */
import t from 'tap';
import { explanationText } from '../../host/cli/explain.js';
import { fiveTupleText, parseFiveTuple } from '../../host/config/five-tuple.js';
import { loadConfig } from '../../host/config/load.js';
import { explain } from '../../host/simulator/explain.js';
import { packetOf } from '../../host/simulator/packet.js';
import { Simulator } from '../../host/simulator/simulator.js';

const config = loadConfig(
  `
vips: [20.0.0.1/32, "2000::1/128"]
streams:
  - name: a
    maxTargets: 10
    targets: [{identifier: 1, ips: [172.16.0.1, "fd00::1"]}, {identifier: 2, ips: [172.16.0.2, "fd00::2"]}]
  - {name: empty, maxTargets: 10}
flows:
  - {name: marked, stream: a, priority: 9, protocols: [tcp], vips: [20.0.0.1/32], byteMatches: ["tcp[13:1] & 0x10 = 0x10"]}
  - {name: near, stream: a, priority: 8, vips: [20.0.0.1/32], sourceSubnets: [10.0.0.0/8]}
  - {name: web, stream: a, priority: 5, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["80", "8000-8010"]}
  - {name: high, stream: a, priority: 4, protocols: [udp], vips: [20.0.0.1/32], sourcePortRanges: ["1024-65535"]}
  - {name: nobody, stream: empty, priority: 3, protocols: [udp], vips: [20.0.0.1/32]}
  - {name: last, stream: a, priority: 1, vips: ["2000::1/128"]}
`,
  'config.yaml',
);

const explained = (text: string) => {
  const tuple = parseFiveTuple(text);
  if (typeof tuple === 'string') throw new Error(tuple);
  return explain(config, tuple);
};

t.test('each flow that was tried says why it did not match', t => {
  const web = explained('tcp 192.0.2.1:1234 > 20.0.0.1:80');
  t.match(web, { reason: 'ok', flow: 'web', stream: 'a', tableSize: 997, notAsked: 3 });
  t.equal(web.slot, web.hash! % 997);
  t.same(
    web.tried.map(({ name, misses }) => [name, misses]),
    [
      ['marked', 'tcp[13:1] & 0x10 = 0x10 does not hold for a packet with nothing but these ports'],
      ['near', 'source 192.0.2.1 is in none of 10.0.0.0/8'],
      ['web', null],
    ],
  );
  const miss = explained('tcp 192.0.2.1:1234 > 20.0.0.1:81');
  t.match(miss, { reason: 'no-flow', flow: null, slot: null, tableSize: null, notAsked: 0 });
  t.same(
    miss.tried.slice(2).map(({ misses }) => misses),
    [
      'destination port 81 is in none of 80, 8000-8010',
      'protocol tcp is none of udp',
      'protocol tcp is none of udp',
      'destination 20.0.0.1 is in none of 2000::1/128',
    ],
  );
  const low = explained('udp 192.0.2.1:53 > 20.0.0.1:53');
  t.match(low, { reason: 'no-target', flow: 'nobody', stream: 'empty', identifier: null });
  t.equal(low.tried[3]!.misses, 'source port 53 is in none of 1024-65535');
  t.match(explained('icmp 192.0.2.1 > 20.0.0.1'), { reason: 'ok', flow: 'marked' }, 'promiscuous ping');
  t.match(explained('sctp [2001:db8::1]:7 > [2000::1]:7'), { flow: 'last' });
  t.end();
});

t.test('who takes no traffic is not chosen', t => {
  const tuple = parseFiveTuple('tcp 192.0.2.1:1234 > 20.0.0.1:80');
  if (typeof tuple === 'string') throw new Error(tuple);
  for (const out of [1, 2])
    t.equal(explain(config, tuple, (_, target) => target.identifier !== out).identifier, 3 - out);
  t.end();
});

t.test('what becomes of fragments is told with each packet, by the mode', t => {
  const reply = (fragments: 'kernel' | 'track') => {
    const tuple = parseFiveTuple('udp 192.0.2.1:53 > 20.0.0.1:53');
    if (typeof tuple === 'string') throw new Error(tuple);
    const explanation = explain({ ...config, fragments, fragmentTimeoutMs: 750 }, tuple);
    return { packet: 'p', ...explanation, route: null, back: null, idle: [] };
  };
  const kernel = reply('kernel');
  t.match(kernel.fragments, { mode: 'kernel', first: /^put together by the kernel before the queue/ });
  t.equal(kernel.fragments.later, kernel.fragments.first);
  t.match(explanationText(kernel), /\nfragment {2}put together by the kernel before the queue: [^\n]*\n$/);
  const track = reply('track');
  t.match(track.fragments, {
    mode: 'track',
    first: 'decided as the whole packet is, by the ports in it',
    later: /^follows its first, .* 750 ms .*, and is dropped if none does$/,
  });
  t.match(
    explanationText(track),
    /\nfragment {2}the first: decided as [^\n]* by the ports in it\n +a later one: follows its first[^\n]* dropped [^\n]*\n$/,
  );
  t.end();
});

t.test('packets in text and back', t => {
  for (const text of [
    'tcp 192.0.2.1:1234 > 20.0.0.1:80',
    'udp [2001:db8::1]:53 > [2000::1]:53',
    'icmp 192.0.2.1 > 20.0.0.1',
    'sctp [2001:db8::1]:0 > [2000::1]:65535',
  ]) {
    const tuple = parseFiveTuple(text);
    t.equal(typeof tuple === 'string' ? tuple : fiveTupleText(tuple), text);
  }
  t.match(parseFiveTuple('icmp 2001:db8::1 > 2000::1'), { family: 6, protocol: 'icmp' });
  const faults: [text: string, fault: RegExp][] = [
    ['tcp', /is not a packet: write <proto>/],
    ['gre 1.2.3.4:1 > 1.2.3.4:1', /is not a packet/],
    ['tcp 1.2.3.4 > 1.2.3.4:1', /1\.2\.3\.4 has no port/],
    ['tcp 1.2.3.4:99999 > 1.2.3.4:1', /above 65535/],
    ['tcp 1.2.3.4:1 > [2000::1]:1', /mixes IPv4 with IPv6/],
    ['icmp 1.2.3.4:1 > 1.2.3.4', /icmp has no ports/],
    ['tcp 1.2.3.999:1 > 1.2.3.4:1', /1\.2\.3\.999 is not an IP address/],
  ];
  for (const [text, fault] of faults) t.match(parseFiveTuple(text), fault, text);
  t.end();
});

t.test('packets of every kind are whole for the core', t => {
  const simulator = Simulator.fromConfig({ ...config, promiscuousPing: true });
  for (const text of ['tcp', 'udp', 'sctp', 'icmp']) {
    for (const [source, destination] of [
      ['10.0.0.1', '20.0.0.1'],
      ['2001:db8::1', '2000::1'],
    ] as const) {
      const family = source.includes(':') ? 6 : 4;
      const tuple = {
        family,
        protocol: text as 'tcp',
        source,
        destination,
        sourcePort: 7,
        destinationPort: 8,
      } as const;
      t.equal(simulator.decide(packetOf(tuple)).reason, 'ok', `${text} ${source}`);
    }
  }
  t.end();
});
