import t, { type Test } from 'tap';
import { loadConfig } from '../../host/config/load.js';
import type { StatusReply } from '../../host/control/api.js';
import { Simulator } from '../../host/simulator/simulator.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { CLIENTS, clientAddress, EXTERNAL, TCP_PORT, UDP_PORT, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { Clients, startTargets } from '../../scripts/lab/traffic.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { be16, icmp, ip, SCTP, TCP, transport, UDP } from '../fixture/packet.js';
import { crc32c, SCTP_INIT, tooBig, wirePacket, withChecksums } from '../fixture/wire.js';
import { answered, connectionsTo, inLoadBalancer, predict, startDaemon, TARGET_LINES } from './lab.js';
import { Listener, listenInTargets, sendRaw } from './raw.js';

const FAMILIES = [4, 6] as const;
const ARRIVAL_MS = 60_000;
const MARKED_PORT = 7000;
const DEEP_PORT = 7001;

const CONFIG = `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32, "2000::1/128"]
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
streams:
  - name: a
    targets:
${TARGET_LINES}
  - name: marked
    targets: [{identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}]
flows:
  - {name: tcp, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["${TCP_PORT}"]}
  - {name: udp, stream: a, priority: 1, protocols: [udp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["${UDP_PORT}", "${MARKED_PORT}"]}
  - {name: sctp, stream: a, priority: 1, protocols: [sctp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["5000"]}
  - name: marked
    stream: marked
    priority: 10
    protocols: [udp]
    vips: [20.0.0.1/32, "2000::1/128"]
    destinationPortRanges: ["${MARKED_PORT}"]
    byteMatches: ["udp[4:2] & 0x00ff = 0x0c"]
  - name: syn
    stream: marked
    priority: 10
    protocols: [tcp]
    vips: ["2000::1/128"]
    destinationPortRanges: ["${DEEP_PORT}"]
    byteMatches: ["tcp[13:1] & 0x02 = 0x02"]
  - {name: deep, stream: a, priority: 1, protocols: [tcp], vips: ["2000::1/128"], destinationPortRanges: ["${DEEP_PORT}"]}
`;

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
let clients: Clients;
let listeners: Map<number, Listener>;
let fromVips: Listener;
try {
  await topology.create();
  await startTargets(topology);
  clients = new Clients(topology);
  await startDaemon(topology, CONFIG).ready();
  listeners = await listenInTargets(topology);
  fromVips = await Listener.start(topology, topology.gateway, EXTERNAL.name);
} catch (error) {
  await topology.destroy();
  throw error;
}
const simulator = Simulator.fromConfig(loadConfig(CONFIG, 'config.yaml'));

async function status(): Promise<StatusReply> {
  return JSON.parse(await inLoadBalancer(topology, 'node', MAGMARK, 'status', '--json')) as StatusReply;
}

/** Transport header and what follows, of a packet without options. */
const payloadOf = (packet: Uint8Array): Uint8Array => packet.subarray(packet[0]! >> 4 === 4 ? 20 : 40);
const protocolOf = (packet: Uint8Array): number => packet[packet[0]! >> 4 === 4 ? 9 : 6]!;

/** Send packets, each told from the others by its transport bytes, and expect each at the target that the core names. */
async function expectArrival(t: Test, packets: readonly Uint8Array[], claim: string): Promise<void> {
  const key = (packet: Uint8Array) =>
    `${protocolOf(packet)} ${Buffer.from(payloadOf(packet)).toString('hex')}`;
  const wanted = new Map(packets.map(packet => [key(packet), [simulator.decide(packet).identifier!]]));
  await sendRaw(topology, packets);
  // Where each arrived, once for each time that it did.
  const arrived = (): Map<string, number[]> => {
    const found = new Map<string, number[]>();
    for (const [identifier, { packets }] of listeners)
      for (const packet of packets) found.set(key(packet), [...(found.get(key(packet)) ?? []), identifier]);
    return found;
  };
  await waitFor(`${claim}: all to arrive`, ARRIVAL_MS, () => {
    const keys = arrived();
    return [...wanted.keys()].every(each => keys.has(each));
  });
  const got = arrived();
  t.strictSame(new Map([...wanted.keys()].map(each => [each, got.get(each)])), wanted, claim);
}

t.test('SCTP reaches the target that the core names, with its CRC32c intact', async t => {
  for (const family of FAMILIES) {
    // SCTP's checksum knows nothing of addresses: ports alone tell the families' packets apart.
    const firstPort = 30000 + 100 * family;
    const packets = Array.from({ length: 40 }, (_, index) =>
      wirePacket(
        SCTP,
        clientAddress(family, index % CLIENTS),
        firstPort + index,
        VIP[family],
        5000,
        SCTP_INIT,
      ),
    );
    await expectArrival(t, packets, `IPv${family}`);
    t.ok(
      new Set(packets.map(packet => simulator.decide(packet).identifier)).size > 1,
      `IPv${family}: several targets`,
    );
  }
  const received = [...listeners.values()]
    .flatMap(({ packets }) => packets)
    .filter(packet => protocolOf(packet) === SCTP);
  t.ok(received.length >= 80);
  for (const packet of received) {
    const bytes = Uint8Array.from(payloadOf(packet));
    const stated = new DataView(bytes.buffer).getUint32(8, true);
    bytes.fill(0, 8, 12);
    if (crc32c(bytes) !== stated) t.fail('a packet arrived with a wrong CRC32c');
  }
});

t.test('a byte statement sends just what it names to its own stream', async t => {
  for (const family of FAMILIES) {
    const packets = Array.from({ length: 30 }, (_, index) => {
      const payload = [index, family, ...(index % 2 === 0 ? [0, 0] : [0, 0, 0])];
      return wirePacket(UDP, clientAddress(family, index), 31000 + index, VIP[family], MARKED_PORT, payload);
    });
    for (const [index, packet] of packets.entries()) {
      t.equal(
        simulator.decide(packet).flow,
        index % 2 === 0 ? 'marked' : 'udp',
        `IPv${family}, datagram ${index}`,
      );
    }
    await expectArrival(t, packets, `IPv${family}`);
  }
});

t.test("frag-needed for a live connection reaches the connection's own target", async t => {
  for (const family of FAMILIES) {
    const mtu = family === 4 ? 1200 : 1280;
    const connections = connectionsTo(family, [VIP[family]], 12, 32000);
    const owners = predict(CONFIG, connections);
    t.strictSame(answered(await clients.connect(connections, true)), owners);
    for (const [index, connection] of connections.entries()) {
      const cause = await lastReply(connection.sourcePort);
      await sendRaw(topology, [
        tooBig(family === 4 ? '198.51.100.7' : '2001:db8:ffff::7', VIP[family], mtu, cause),
      ]);
      const owner = topology.target(owners[index]!);
      const sockets = [
        'ss',
        '-tinH',
        'sport',
        '=',
        `:${TCP_PORT}`,
        'and',
        'dport',
        '=',
        `:${connection.sourcePort}`,
      ];
      await waitFor(
        `IPv${family}: the target to have learned the path MTU of port ${connection.sourcePort}`,
        ARRIVAL_MS,
        async () => {
          const { stdout } = await topology.processes.command([...Topology.inside(owner), ...sockets]);
          return stdout.includes(`pmtu:${mtu}`);
        },
      );
    }
    t.ok((await clients.echo('still there')).every(Boolean), `IPv${family}: all connections live on`);
    await clients.close();
  }

  /**
   * The target's next packet on a connection, as far as an error carries it. Its sequence number must be the one that is
   * due, or the target takes the error for forged: it follows from the greeting, the one segment with data.
   */
  async function lastReply(port: number): Promise<Uint8Array> {
    const dataBytes = (header: Uint8Array): number => header.length - (header[12]! >> 4) * 4;
    const isGreeting = (packet: Uint8Array): boolean => {
      if (protocolOf(packet) !== TCP) return false;
      const header = Buffer.from(payloadOf(packet));
      return header.readUInt16BE(0) === TCP_PORT && header.readUInt16BE(2) === port && dataBytes(header) > 0;
    };
    const packet = await waitFor('the greeting of the target', ARRIVAL_MS, () =>
      fromVips.packets.findLast(isGreeting),
    );
    const copy = Uint8Array.from(packet);
    const header = payloadOf(copy);
    const view = new DataView(header.buffer, header.byteOffset);
    view.setUint32(4, view.getUint32(4) + dataBytes(header));
    return copy;
  }
});

/** Packets by reason since the daemon's start. */
async function reasonCounts(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { reasons } of (await status()).queues)
    for (const [reason, count] of Object.entries(reasons)) counts[reason] = (counts[reason] ?? 0) + count;
  return counts;
}

t.test('how deep the core reads is the same live and offline', async t => {
  const source = clientAddress(6, 0);
  let port = 34000;
  const tcp = (destinationPort: number) =>
    transport(TCP, port++, destinationPort, new Array<number>(40).fill(7));
  const option = (next: number, bytes: number) => [
    next,
    bytes / 8 - 1,
    ...new Array<number>(bytes - 2).fill(0),
  ];
  const chain = (count: number) =>
    ip(source, VIP[6], 60, tcp(TCP_PORT), {
      options: Array.from({ length: count }, (_, n) => option(n === count - 1 ? TCP : 60, 8)).flat(),
    });
  /** TCP whose four bytes of ports end at byte `end`. */
  const portsEndAt = (end: number, destinationPort: number) => {
    // Headers count in words of 8 bytes, but the authentication header in words of 4.
    const bytes = end - 4 - 40;
    const first = bytes % 8 === 0 ? 0 : 12;
    const options =
      first === 0
        ? option(TCP, bytes)
        : [60, first / 4 - 2, ...new Array<number>(10).fill(0), ...option(TCP, bytes - first)];
    return ip(source, VIP[6], first === 0 ? 60 : 51, tcp(destinationPort), { options });
  };
  const rows: [claim: string, packet: Uint8Array, reason: string, flow: string | null][] = [
    ['16 headers', chain(16), 'ok', 'tcp'],
    ['17 headers', chain(17), 'headers-too-deep', null],
    ['ports that end at byte 508', portsEndAt(508, TCP_PORT), 'ok', 'tcp'],
    ['ports that end at byte 512', portsEndAt(512, TCP_PORT), 'ok', 'tcp'],
    ['ports that end at byte 516', portsEndAt(516, TCP_PORT), 'headers-too-deep', null],
    ['a byte statement within the first 512', portsEndAt(500, DEEP_PORT), 'ok', 'syn'],
    ['a byte statement behind them', portsEndAt(508, DEEP_PORT), 'headers-too-deep', null],
  ];
  for (const [claim, packet, reason, flow] of rows)
    t.match(simulator.decide(packet), { reason, flow }, `offline: ${claim}`);
  const packets = rows.map(([, packet]) => packet);
  const isDecided = (packet: Uint8Array) => simulator.decide(packet).reason === 'ok';

  const before = await reasonCounts();
  await sendRaw(
    topology,
    packets.filter(packet => !isDecided(packet)),
  );
  await expectArrival(t, packets.filter(isDecided), 'live: those that are decided');
  const tooDeep = async () =>
    ((await reasonCounts())['headers-too-deep'] ?? 0) - (before['headers-too-deep'] ?? 0);
  await waitFor('live: the others to be counted', ARRIVAL_MS, async () => (await tooDeep()) >= 3);
  t.equal(await tooDeep(), 3, 'live: just the others are too deep');
  const after = await reasonCounts();
  for (const reason of ['truncated', 'bad-header', 'not-ip', 'no-flow', 'fragment-without-first'])
    t.equal(after[reason] ?? 0, before[reason] ?? 0, `live: none is ${reason}`);
});

/** What a hostile or broken sender may send; checksums of the IP header are right, so that nothing is dropped on the way. */
function malformed(): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (const family of FAMILIES) {
    const source = clientAddress(family, 0);
    const packet = (protocol: number, payload: readonly number[], more: Parameters<typeof ip>[4] = {}) =>
      packets.push(withChecksums(ip(source, VIP[family], protocol, payload, more), -1));
    for (const protocol of [TCP, UDP, SCTP, family === 4 ? 1 : 58]) {
      for (let length = 0; length < 12; length++)
        packet(protocol, transport(protocol, 1000, TCP_PORT).slice(0, length));
    }
    // Errors whose inner packet is cut, of another version, an error itself, or says more than there is.
    const error = (inner: readonly number[]) =>
      packet(family === 4 ? 1 : 58, icmp(family === 4 ? 3 : 1, 1, [0, 0, 0, 0], inner));
    const inner = [...ip(VIP[family], source, UDP, transport(UDP, UDP_PORT, 1000))];
    for (let length = 0; length <= inner.length; length++) error(inner.slice(0, length));
    error([
      ...ip(
        VIP[family === 4 ? 6 : 4],
        clientAddress(family === 4 ? 6 : 4, 0),
        UDP,
        transport(UDP, UDP_PORT, 1000),
      ),
    ]);
    error([...ip(VIP[family], source, family === 4 ? 1 : 58, icmp(3, 1, [0, 0, 0, 0], inner))]);
    error([...inner.slice(0, 2), 0xff, 0xff, ...inner.slice(4)]);
    // About a later fragment, which the kernel has no way to put together.
    error([
      ...(family === 4
        ? ip(VIP[4], source, UDP, [1, 2, 3, 4, 5, 6, 7, 8], { fragment: 1, id: 9 })
        : ip(VIP[6], source, 44, [1, 2, 3, 4], { options: [UDP, 0, 0, 8, 0, 0, 0, 9] })),
    ]);
  }
  // Lying lengths: what the kernel lets through of them, the core must bear.
  for (const total of [0, 19, 21, 60, 65535]) {
    const bytes = Uint8Array.from(wirePacket(TCP, clientAddress(4, 0), 1000, VIP[4], TCP_PORT));
    bytes.set(be16(total), 2);
    packets.push(withChecksums(bytes, -1));
    const six = Uint8Array.from(wirePacket(TCP, clientAddress(6, 0), 1000, VIP[6], TCP_PORT));
    six.set(be16(total), 4);
    packets.push(six);
  }
  // Endless extension headers, and such as lie about their length.
  const client = clientAddress(6, 0);
  const option = (next: number) => [next, 0, 1, 4, 0, 0, 0, 0];
  for (const count of [1, 16, 17, 60, 140]) {
    const chain = Array.from({ length: count }, (_, index) => option(index === count - 1 ? TCP : 60)).flat();
    packets.push(ip(client, VIP[6], 60, transport(TCP, 1000, TCP_PORT), { options: chain }));
  }
  for (const length of [1, 100, 255]) packets.push(ip(client, VIP[6], 60, [TCP, length, 0, 0, 0, 0, 0, 0]));
  for (const next of [43, 44, 51, 135, 139, 140, 59, 0])
    packets.push(ip(client, VIP[6], next, [next, 0, 0, 0, 0, 0, 0, 0]));
  return packets;
}

/** Fragments that overlap, leave gaps, come alone, or end in the middle of the ports. */
function fragments(): Uint8Array[] {
  const packets: Uint8Array[] = [];
  const data = new Array<number>(64).fill(7);
  const shapes: readonly (readonly [offset: number, more: boolean, bytes: number])[][] = [
    [
      [0, true, 16],
      [1, true, 16],
      [3, false, 8],
    ],
    [
      [0, true, 24],
      [1, false, 8],
    ],
    [
      [0, true, 8],
      [5, false, 8],
    ],
    [[4, false, 8]],
    [[8189, false, 64]],
    [
      [0, true, 8],
      [0, true, 16],
      [2, false, 8],
    ],
  ];
  let id = 100;
  for (const shape of shapes) {
    id++;
    for (const [offset, more, bytes] of shape) {
      const payload = [...transport(UDP, 1000, UDP_PORT, data)].slice(0, bytes);
      const four = ip(clientAddress(4, 1), VIP[4], UDP, payload, {
        fragment: (more ? 0x2000 : 0) | offset,
        id,
      });
      packets.push(withChecksums(four, -1));
      const header = [UDP, 0, ...be16((offset << 3) | (more ? 1 : 0)), 0, 0, ...be16(id)];
      packets.push(ip(clientAddress(6, 1), VIP[6], 44, payload, { options: header }));
    }
  }
  return packets;
}

t.test('malformed packets are dropped with their reasons, and the daemon serves on', async t => {
  const restarts = (await status()).workerRestarts;
  for (let round = 0; round < 5; round++) await sendRaw(topology, [...malformed(), ...fragments()]);
  for (const family of FAMILIES) {
    const connections = connectionsTo(family, [VIP[family]], 64, 33000);
    t.strictSame(
      answered(await clients.connect(connections)),
      predict(CONFIG, connections),
      `IPv${family} serves on`,
    );
  }
  const after = await status();
  t.equal(after.workerRestarts, restarts, 'no worker died');
  const seen = new Set(after.queues.flatMap(queue => Object.keys(queue.reasons)));
  // Fragments themselves are put together by the kernel, or never leave it; the later one inside an error does come.
  for (const reason of [
    'ok',
    'no-flow',
    'truncated',
    'headers-too-deep',
    'bad-header',
    'fragment-without-first',
  ])
    t.ok(seen.has(reason), `${reason} was counted`);
});
