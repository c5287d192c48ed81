/** What `magmark explain` says of a packet, and what becomes of the same packet when it comes: two ways to one answer. */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { fiveTupleText } from '../../host/config/five-tuple.js';
import type { ExplainReply, TraceLine } from '../../host/control/api.js';
import { packetOf } from '../../host/simulator/packet.js';
import { addressNumber } from '../../host/types/address.js';
import type { FiveTuple } from '../../host/types/five-tuple.js';
import type { TracedPacket } from '../../host/types/trace.js';
import { EXTERNAL, TARGETS, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { SCTP, TCP, UDP } from '../fixture/packet.js';
import { withChecksums } from '../fixture/wire.js';
import { inLoadBalancer, startDaemon, startLab, writeConfig } from './lab.js';
import { type Listener, listenInTargets, sendRaw } from './raw.js';

const VIPS = `["${VIP[4]}/32", "${VIP[6]}/128"]`;
/** Nobody has it: its target stays pending. */
const ABSENT = { identifier: 50, ips: ['172.16.0.99', 'fd00::99'] };
const targetLines = [
  ...TARGETS.map(({ identifier, ips }) => ({ identifier, ips: [ips[4], ips[6]] })),
  ABSENT,
].map(({ identifier, ips }) => `      - {identifier: ${identifier}, ips: ["${ips.join('", "')}"]}`);

const CONFIG = `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${VIPS}
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
shutdownDelay: 0s
streams:
  - name: a
    targets:
${targetLines.join('\n')}
  - name: b
    maxTargets: 10
    targets: [{identifier: 3, ips: [172.16.1.6, "fd00:0:0:1::6"]}]
  - {name: empty, maxTargets: 10}
  - name: away
    maxTargets: 10
    targets: [{identifier: 1, ips: [172.16.0.98, "fd00::98"]}]
flows:
  - {name: syn, stream: b, priority: 9, protocols: [tcp], vips: ${VIPS}, destinationPortRanges: ["7000"], byteMatches: ["tcp[13:1] & 0x02 = 0x02", "tcp[0:2] = 0x1000"]}
  - {name: ack, stream: a, priority: 9, protocols: [tcp], vips: ${VIPS}, destinationPortRanges: ["7000"], byteMatches: ["tcp[13:1] & 0x10 = 0x10"]}
  - {name: high, stream: b, priority: 8, protocols: [udp, tcp], vips: ["${VIP[4]}/32"], sourcePortRanges: ["1-1023", "60000-65535"], destinationPortRanges: ["5000-5999"]}
  - {name: near, stream: a, priority: 7, protocols: [udp], vips: ${VIPS}, sourceSubnets: [10.0.0.0/8, "2001:db8:7::/48"]}
  - {name: first, stream: a, priority: 5, protocols: [tcp], vips: ${VIPS}, destinationPortRanges: ["4000-4010"]}
  - {name: second, stream: b, priority: 5, protocols: [tcp], vips: ${VIPS}, destinationPortRanges: ["4005-4020"]}
  - {name: nobody, stream: empty, priority: 4, protocols: [udp], vips: ${VIPS}, destinationPortRanges: ["53"]}
  - {name: gone, stream: away, priority: 4, protocols: [udp], vips: ${VIPS}, destinationPortRanges: ["54"]}
  - {name: sctp, stream: a, priority: 3, protocols: [sctp], vips: ${VIPS}}
  - {name: web, stream: b, priority: 2, protocols: [tcp], vips: ${VIPS}, destinationPortRanges: ["80"]}
portNats:
  - {port: 80, targetPort: 8080, protocol: tcp, vips: ${VIPS}}
`;

const NUMBERS: Readonly<Record<FiveTuple['protocol'], number>> = { tcp: TCP, udp: UDP, sctp: SCTP, icmp: 1 };
const ICMPV6 = 58;
const SOCKET = '/run/magmark/net-$(stat -Lc %i /proc/self/ns/net).sock';
/** In the order in which they are tried. */
const FLOWS = ['syn', 'ack', 'high', 'near', 'first', 'second', 'nobody', 'gone', 'sctp', 'web'];

/** Protocol, source port, destination port: of each in both families, from near and from far. */
const ROWS: readonly (readonly [FiveTuple['protocol'], number, number])[] = [
  ['tcp', 4096, 7000],
  ['tcp', 4097, 7000],
  ['tcp', 1023, 5000],
  ['tcp', 1024, 5999],
  ['tcp', 60000, 5999],
  ['tcp', 65535, 6000],
  ['tcp', 40000, 3999],
  ['tcp', 40000, 4000],
  ['tcp', 40001, 4005],
  ['tcp', 40002, 4010],
  ['tcp', 40003, 4011],
  ['tcp', 40004, 4021],
  ['tcp', 40005, 80],
  ['tcp', 40006, 8080],
  ['udp', 1, 5500],
  ['udp', 40000, 53],
  ['udp', 40000, 54],
  ['udp', 40000, 65535],
  ['sctp', 9, 9],
  ['sctp', 65535, 1],
  ['icmp', 0, 0],
];
const SOURCES = { 4: ['192.0.2.77', '10.9.8.7'], 6: ['2001:db8::77', '2001:db8:7::7'] } as const;

const tuples: FiveTuple[] = ([4, 6] as const).flatMap(family =>
  SOURCES[family].flatMap(source =>
    ROWS.map(([protocol, sourcePort, destinationPort]) => ({
      family,
      protocol,
      source,
      sourcePort,
      destination: VIP[family],
      destinationPort,
    })),
  ),
);

t.setTimeout(600_000);
const { topology } = await startLab(t, { vips: [`${VIP[4]}/32`, `${VIP[6]}/128`] });
const daemon = startDaemon(topology, CONFIG);
await daemon.ready();

/** As a program asks: two processes of Node for each packet would take minutes. */
const ask = (...options: string[]) =>
  inLoadBalancer(topology, 'sh', '-c', `curl -sS --unix-socket ${SOCKET} "$@"`, 'curl', ...options);

async function explained(tuple: FiveTuple): Promise<ExplainReply> {
  const query = new URLSearchParams({ packet: fiveTupleText(tuple) });
  return JSON.parse(await ask(`http://magmark/v1/explain?${query}`)) as ExplainReply;
}

/** What a trace told, by `keyOf`; messages inside ICMP errors are left out: nobody sent them. */
class Trace {
  readonly packets = new Map<string, TracedPacket>();
  begun = false;

  constructor() {
    const command = `exec curl -sSN --unix-socket ${SOCKET} http://magmark/v1/trace`;
    const argv = [...Topology.inside(topology.loadBalancer), 'sh', '-c', command];
    const child = topology.processes.start(argv, join(topology.directory, 'trace.log'), 'pipes');
    createInterface({ input: child.stdout! }).on('line', text => {
      const line = JSON.parse(text) as TraceLine;
      if (line.type === 'reader') this.begun = true;
      if (line.type === 'packet' && !line.inner) this.packets.set(keyOf(line), line);
    });
  }
}

function keyOf(packet: Pick<TracedPacket, 'protocol' | 'source' | 'sourcePort' | 'destinationPort'>): string {
  const { protocol, source, sourcePort, destinationPort } = packet;
  return `${protocol.slice(0, 4)} ${addressNumber(source)} ${sourcePort} ${destinationPort}`;
}

/** Of packets that came to a target: those behind port NAT ask the target's port. */
function arrivalOf(packet: Uint8Array): string {
  const [header, protocolAt, from, bytes] = packet[0]! >> 4 === 4 ? [20, 9, 12, 4] : [40, 6, 8, 16];
  const view = new DataView(packet.buffer, packet.byteOffset);
  const protocol = packet[protocolAt]!;
  const isIcmp = protocol === 1 || protocol === 58;
  const source = packet.subarray(from, from + bytes).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const ports = isIcmp ? [0, 0] : [view.getUint16(header), view.getUint16(header + 2)];
  const name = isIcmp ? 'icmp' : Object.entries(NUMBERS).find(([, number]) => number === protocol)?.[0];
  return `${name} ${source} ${ports.join(' ')}`;
}

t.test('explain says of each packet what trace says of it when it comes, and where it arrives', async t => {
  const explanations: ExplainReply[] = [];
  for (const tuple of tuples) explanations.push(await explained(tuple));
  const trace = new Trace();
  const listeners = await listenInTargets(topology);
  await waitFor('the trace to begin', 60_000, () => trace.begun);
  await sendRaw(
    topology,
    tuples.map(tuple => {
      const isPing6 = tuple.protocol === 'icmp' && tuple.family === 6;
      return withChecksums(packetOf(tuple), isPing6 ? ICMPV6 : NUMBERS[tuple.protocol]);
    }),
  );
  await waitFor('all packets to be traced', 60_000, () =>
    tuples.every(each => trace.packets.has(keyOf(each))),
  );
  const forwarded = explanations.filter(({ fwmark }) => fwmark !== null);
  await waitFor('what has a mark to arrive', 60_000, () => arrived(listeners) >= forwarded.length);

  for (const [index, tuple] of tuples.entries()) {
    const { packet, reason, flow, stream, hash, identifier, fwmark, route, slot, tableSize, tried } =
      explanations[index]!;
    t.match(trace.packets.get(keyOf(tuple)), { reason, flow, stream, hash, identifier, fwmark }, packet);
    if (hash !== null) t.equal(slot, hash % tableSize!, packet);
    t.strictSame(
      tried.map(({ name, misses }) => [name, misses === null]),
      FLOWS.slice(0, flow === null ? FLOWS.length : FLOWS.indexOf(flow) + 1).map(name => [
        name,
        name === flow,
      ]),
      packet,
    );
    for (const { misses } of tried) t.not(misses, 'it does not match', packet);
    const key = keyOf(flow === 'web' ? { ...tuple, destinationPort: 8080 } : tuple);
    const where = TARGETS.filter(each =>
      listeners.get(each.identifier)!.packets.some(bytes => arrivalOf(bytes) === key),
    );
    t.strictSame(
      where.map(({ ips }) => ips[tuple.family]),
      fwmark === null ? [] : [route!.via],
      `${packet} arrives at the next hop alone`,
    );
  }
  const reasons = new Set(explanations.map(({ reason }) => reason));
  t.strictSame([...reasons].sort(), ['no-flow', 'no-target', 'ok']);
  t.strictSame(
    [...new Set(explanations.map(({ flow }) => flow ?? ''))].filter(Boolean).sort(),
    FLOWS.filter(name => name !== 'ack').sort(),
    'each flow took one: but for that of ACKs, since packets are SYNs',
  );
  const waiting = explanations.find(({ flow }) => flow === 'gone')!;
  t.match(waiting.idle, [
    { target: 'away/1', reason: /neighbour 172\.16\.0\.98 .*(has not answered|does not answer)/ },
  ]);
});

t.test('the table is the one that the kernel takes, not the one that belongs to the mark', async t => {
  const stray = { ...tuples[1]!, destinationPort: 9 };
  const marked = CONFIG.replace('shutdownDelay', 'noFlowFwmark: 77\nshutdownDelay');
  writeConfig(topology, marked);
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.match(await explained(stray), {
    reason: 'no-flow',
    fwmark: 77,
    route: { table: 254, via: EXTERNAL.gateway[4], device: EXTERNAL.name },
  });
  await inLoadBalancer(topology, 'ip', 'rule', 'add', 'priority', '50', 'fwmark', '77', 'lookup', '9');
  await inLoadBalancer(topology, 'ip', 'route', 'add', 'default', 'via', '172.16.0.6', 'table', '9');
  t.match(await explained(stray), { fwmark: 77, route: { table: 9, via: '172.16.0.6' } });
  await inLoadBalancer(topology, 'ip', 'route', 'replace', 'blackhole', 'default', 'table', '9');
  const nowhere = await explained(stray);
  t.match(nowhere.route, { table: null, via: null, error: /Invalid argument/ });
  await daemon.stop();
});

function arrived(listeners: ReadonlyMap<number, Listener>): number {
  const keys = tuples.flatMap(tuple => [keyOf(tuple), keyOf({ ...tuple, destinationPort: 8080 })]);
  return [...listeners.values()].flatMap(({ packets }) =>
    packets.filter(packet => keys.includes(arrivalOf(packet))),
  ).length;
}
