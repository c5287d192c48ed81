/** Port NAT and the load balancer's own errors, with real packets: what the receiver gets, and whether its checksums hold. */
import ipaddr from 'ipaddr.js';
import t from 'tap';
import type { Family } from '../../host/types/config.js';
import {
  CONDUITS,
  clientAddress,
  EXTERNAL,
  TARGETS,
  TCP_PORT,
  UDP_PORT,
  VIP,
} from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { Clients, startTargets } from '../../scripts/lab/traffic.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { SCTP, TCP, UDP } from '../fixture/packet.js';
import { SCTP_INIT, tooBig, wirePacket, withChecksums } from '../fixture/wire.js';
import {
  answered,
  connectionsTo,
  inLoadBalancer,
  kernelState,
  predict,
  startDaemon,
  TARGET_LINES,
  writeConfig,
} from './lab.js';
import { Listener, listenInTargets, sendRaw, sendRawFromTarget } from './raw.js';

const FAMILIES = [4, 6] as const;
const ARRIVAL_MS = 60_000;
const [ICMP, ICMPV6] = [1, 58];
const PORT = 80;
const SCTP_PORT = 5000;
const PROTOCOLS = [
  { name: 'tcp', number: TCP, targetPort: TCP_PORT, payload: [1, 2, 3] },
  { name: 'udp', number: UDP, targetPort: UDP_PORT, payload: [1, 2, 3] },
  { name: 'sctp', number: SCTP, targetPort: SCTP_PORT, payload: SCTP_INIT },
] as const;
type Name = (typeof PROTOCOLS)[number]['name'];

const VIPS = `[20.0.0.1/32, "2000::1/128"]`;

function configText(...translated: Name[]): string {
  const nats = PROTOCOLS.filter(({ name }) => translated.includes(name)).map(
    ({ name, targetPort }) =>
      `  - {port: ${PORT}, targetPort: ${targetPort}, protocol: ${name}, vips: ${VIPS}}`,
  );
  return `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${VIPS}
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
streams:
  - name: a
    targets:
${TARGET_LINES}
flows:
  - {name: all, stream: a, priority: 1, protocols: [tcp, udp, sctp], vips: ${VIPS}, destinationPortRanges: ["${PORT}", "${TCP_PORT}"]}
${nats.length > 0 ? ['portNats:', ...nats].join('\n') : ''}
`;
}
const CONFIG = configText('tcp', 'udp', 'sctp');

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
let clients: Clients;
let listeners: Map<number, Listener>;
let outside: Listener;
let pristine: string;
let daemon: ReturnType<typeof startDaemon>;
try {
  await topology.create();
  await startTargets(topology);
  clients = new Clients(topology);
  pristine = await kernelState(topology);
  daemon = startDaemon(topology, CONFIG);
  await daemon.ready();
  listeners = await listenInTargets(topology);
  outside = await Listener.start(topology, topology.gateway, EXTERNAL.name);
} catch (error) {
  await topology.destroy();
  throw error;
}

const familyOf = (packet: Uint8Array): Family => (packet[0]! >> 4 === 4 ? 4 : 6);
/** Of packets without options. */
const headerBytes = (packet: Uint8Array): number => (familyOf(packet) === 4 ? 20 : 40);
const protocolOf = (packet: Uint8Array): number => packet[familyOf(packet) === 4 ? 9 : 6]!;
const behindHeader = (packet: Uint8Array): Buffer => Buffer.from(packet.subarray(headerBytes(packet)));
const sourcePort = (packet: Uint8Array): number => behindHeader(packet).readUInt16BE(0);
const destinationPort = (packet: Uint8Array): number => behindHeader(packet).readUInt16BE(2);
const udpChecksum = (packet: Uint8Array): number => behindHeader(packet).readUInt16BE(6);

/** Those of the IPv4 header and of what is behind it. */
function checksumsHold(packet: Uint8Array): boolean {
  return Buffer.compare(withChecksums(Uint8Array.from(packet), protocolOf(packet)), packet) === 0;
}

/** As a sender that makes none (RFC 768). */
function withoutUdpChecksum(packet: Uint8Array): Uint8Array {
  packet.set([0, 0], headerBytes(packet) + 6);
  return packet;
}

type Fits = (packet: Uint8Array) => boolean;
const both =
  (...all: Fits[]): Fits =>
  packet =>
    all.every(fits => fits(packet));
const of =
  (family: Family, protocol: number): Fits =>
  packet =>
    familyOf(packet) === family && protocolOf(packet) === protocol;

const atTarget = (what: string, fits: Fits): Promise<Uint8Array> =>
  waitFor(`${what} at a target`, ARRIVAL_MS, () =>
    [...listeners.values()].flatMap(({ packets }) => packets).find(fits),
  );
const atClient = (what: string, fits: Fits): Promise<Uint8Array> =>
  waitFor(`${what} at the client`, ARRIVAL_MS, () => outside.packets.find(fits));

for (const { name, number, targetPort, payload } of PROTOCOLS) {
  t.test(`${name}: ports are translated in both directions, and the checksums hold`, async t => {
    for (const family of FAMILIES) {
      for (const [index, target] of TARGETS.entries()) {
        const client = clientAddress(family, index);
        const port = 30000 + index;
        const request = wirePacket(number, client, port, VIP[family], PORT, payload);
        await sendRaw(topology, [request]);
        const there = await atTarget(
          'a request',
          both(of(family, number), packet => sourcePort(packet) === port),
        );
        t.equal(destinationPort(there), targetPort, `IPv${family}: a request`);
        t.ok(checksumsHold(there), 'with checksums that hold');
        // Another port: the target's own answer to the request is none of ours.
        const other = port + 100;
        const reply = wirePacket(number, VIP[family], targetPort, client, other, payload);
        await sendRawFromTarget(topology, target, [reply]);
        const back = await atClient(
          'a reply',
          both(of(family, number), packet => destinationPort(packet) === other),
        );
        t.equal(sourcePort(back), PORT, `IPv${family}: a reply`);
        t.ok(checksumsHold(back), 'with checksums that hold');
      }
    }
  });
}

t.test('a datagram without a checksum stays without one', async t => {
  for (const family of FAMILIES) {
    const client = clientAddress(family, 9);
    const request = wirePacket(UDP, client, 31000, VIP[family], PORT, [9]);
    const reply = wirePacket(UDP, VIP[family], UDP_PORT, client, 31001, [9]);
    await sendRaw(topology, [withoutUdpChecksum(request)]);
    await sendRawFromTarget(topology, TARGETS[0]!, [withoutUdpChecksum(reply)]);
    const there = await atTarget(
      'a request',
      both(of(family, UDP), packet => sourcePort(packet) === 31000),
    );
    const back = await atClient(
      'a reply',
      both(of(family, UDP), packet => destinationPort(packet) === 31001),
    );
    t.equal(destinationPort(there), UDP_PORT);
    t.equal(udpChecksum(there), 0, `IPv${family}: a request`);
    t.equal(sourcePort(back), PORT);
    t.equal(udpChecksum(back), 0, `IPv${family}: a reply`);
  }
});

t.test('connections and datagrams of real sockets reach the targets that the core names', async t => {
  for (const family of FAMILIES) {
    const connections = connectionsTo(family, [VIP[family]], 60, 32000, PORT);
    t.strictSame(answered(await clients.connect(connections)), predict(CONFIG, connections), `IPv${family}`);
    // Whole, and in fragments: what clients send leaves in packets of 1,300 bytes.
    for (const size of [400, 3000]) {
      const results = await clients.datagrams(connections.slice(0, 30), size);
      t.ok(
        results.every(result => 'intact' in result && result.intact),
        `IPv${family}: datagrams of ${size} bytes`,
      );
    }
  }
});

t.test('NATs come and go by SIGHUP under traffic, and nothing else is harmed', async t => {
  const kept = connectionsTo(4, [VIP[4]], 60, 34000, PORT);
  t.strictSame(answered(await clients.connect(kept, true)), predict(CONFIG, kept));
  let before: readonly Name[] = ['tcp', 'udp', 'sctp'];
  const reload = async (...translated: Name[]): Promise<void> => {
    writeConfig(topology, configText(...translated));
    const changed = daemon.reload();
    const isServed = before.includes('udp') && translated.includes('udp');
    const datagrams = connectionsTo(6, [VIP[6]], isServed ? 200 : 0, 35000, PORT);
    const results = await clients.datagrams(datagrams, 100);
    before = translated;
    t.equal((await changed).msg, 'reloaded', translated.join());
    t.ok(
      results.every(result => 'intact' in result && result.intact),
      'no datagram is lost',
    );
    t.ok((await clients.echo('still there')).every(Boolean), 'no connection is lost');
  };
  const chain = () => inLoadBalancer(topology, 'nft', 'list', 'table', 'inet', 'meridio-nat');
  await reload('tcp', 'udp');
  t.match(await chain(), /chain 80-5000-SCTP \{\n[^\n]*;\n\t\}/, 'emptied');
  await reload('tcp', 'udp', 'sctp');
  t.match(await chain(), /chain 80-5000-SCTP \{\n[^\n]*;\n\t\tip daddr/, 'filled');
  await reload('tcp', 'sctp');
  await reload('tcp', 'udp', 'sctp');
  const request = wirePacket(SCTP, clientAddress(4, 5), 36000, VIP[4], PORT, SCTP_INIT);
  await sendRaw(topology, [request]);
  const there = await atTarget(
    'a request',
    both(of(4, SCTP), packet => sourcePort(packet) === 36000),
  );
  t.equal(destinationPort(there), SCTP_PORT, 'and works as before');
  await clients.close();
});

/** The error of `type` and `code` that this client gets. */
function errorAt(client: string, type: number, code: number): Promise<Uint8Array> {
  const family = client.includes(':') ? 6 : 4;
  return atClient(
    `ICMP ${type}/${code}`,
    both(of(family, family === 4 ? ICMP : ICMPV6), packet => {
      const error = behindHeader(packet);
      if (error[0] !== type || error[1] !== code) return false;
      return addressText(family, error.subarray(8 + (family === 4 ? 12 : 8))) === client;
    }),
  );
}

const addressText = (family: Family, bytes: Uint8Array): string =>
  ipaddr.fromByteArray([...bytes.subarray(0, family === 4 ? 4 : 16)]).toString();
const sourceOf = (packet: Uint8Array): string =>
  addressText(familyOf(packet), packet.subarray(familyOf(packet) === 4 ? 12 : 8));

const destinationOf = (packet: Uint8Array): string =>
  addressText(familyOf(packet), packet.subarray(familyOf(packet) === 4 ? 16 : 24));
const clientsOf = (family: Family): Set<string> =>
  new Set(Array.from({ length: 200 }, (_, index) => clientAddress(family, index)));

/** Of VIPs with room for more: each bit of an address is in its place. */
const VIPS_OF_ERRORS: Readonly<Record<Family, readonly string[]>> = {
  4: ['20.0.0.0', '20.0.0.1', '20.0.0.255'],
  6: ['2000::', '2000::1', '2000::fedc:ba98:7654:3210', '2000::ffff:ffff:ffff:ffff'],
};

t.test(
  'what is too big for a target, too old or unreachable comes back to the client as an error from the VIP',
  async t => {
    const text = configText().replaceAll('20.0.0.1/32', '20.0.0.0/24').replaceAll('2000::1/128', '2000::/64');
    writeConfig(topology, text);
    t.equal((await daemon.reload()).msg, 'reloaded');
    // Main has no way out any more: what arrives took that of the VIPs.
    const main = (change: string, family: Family) => {
      const way = ['default', 'via', EXTERNAL.gateway[family], 'dev', EXTERNAL.name];
      return inLoadBalancer(topology, 'ip', `-${family}`, 'route', change, ...way);
    };
    for (const family of FAMILIES) {
      await main('delete', family);
      for (const [turn, vip] of VIPS_OF_ERRORS[family].entries()) {
        const rows = Array.from({ length: 40 }, (_, index) => ({
          family,
          source: clientAddress(family, 40 * turn + index),
          sourcePort: 37000 + index,
          destination: vip,
          destinationPort: TCP_PORT,
        }));
        const owners = predict(text, rows);
        // Behind the link of 1,400 bytes, and behind the other.
        const narrow = rows.find((_, index) => owners[index] === 69)!;
        const wide = rows.find((_, index) => owners[index] === 44)!;
        const lost = rows.find((_, index) => owners[index] === 73)!;
        const packet = ({ source, sourcePort }: typeof narrow, size: number): Uint8Array => {
          const made = wirePacket(TCP, source, sourcePort, vip, TCP_PORT, new Array(size - 40).fill(7));
          if (family === 4) made[6] = 0x40;
          return withChecksums(made, TCP);
        };
        await sendRaw(topology, [packet(narrow, 1430)]);
        const [type, code] = family === 4 ? [3, 4] : [2, 0];
        const tooBig = await errorAt(narrow.source, type!, code!);
        t.equal(sourceOf(tooBig), vip, `IPv${family}: too big`);
        t.equal(behindHeader(tooBig).readUInt16BE(6), 1400, 'with the MTU');
        t.ok(checksumsHold(tooBig), 'and checksums that hold');

        const old = packet(wide, 100);
        old[family === 4 ? 8 : 7] = 1;
        await sendRaw(topology, [withChecksums(old, TCP)]);
        const exceeded = await errorAt(wide.source, family === 4 ? 11 : 3, 0);
        t.equal(sourceOf(exceeded), vip, `IPv${family}: too old`);
        t.ok(checksumsHold(exceeded), 'with checksums that hold');

        const nowhere = ['unreachable', vip, 'table', '5073'];
        await inLoadBalancer(topology, 'ip', `-${family}`, 'route', 'add', ...nowhere);
        await sendRaw(topology, [packet(lost, 100)]);
        const unreachable = await errorAt(lost.source, family === 4 ? 3 : 1, family === 4 ? 1 : 0);
        t.equal(sourceOf(unreachable), vip, `IPv${family}: unreachable`);
        t.ok(checksumsHold(unreachable), 'with checksums that hold');
        await inLoadBalancer(topology, 'ip', `-${family}`, 'route', 'delete', ...nowhere);
      }
      await main('add', family);
    }
    // A look that saw one of those routes may be the last that the daemon had.
    await waitFor('the daemon to see that they are gone', ARRIVAL_MS, async () => {
      return (await daemon.reload()).msg === 'reloaded';
    });
    const errors = [...listeners.values()]
      .flatMap(({ packets }) => packets)
      .filter(packet => {
        const family = familyOf(packet);
        const isIcmp = of(4, ICMP)(packet) || of(6, ICMPV6)(packet);
        return isIcmp && clientsOf(family).has(destinationOf(packet));
      });
    t.strictSame(errors, [], 'no target got one');
  },
);

/** Some router on the way. */
const ROUTER = { 4: '198.51.100.7', 6: '2001:db8:ffff::7' } as const;

/** The packet that an error carries; its addresses tell it from others. */
const innerOf = (error: Uint8Array): Uint8Array => error.subarray(headerBytes(error) + 8);

t.test('an error about a translated connection names the port that its receiver knows', async t => {
  writeConfig(topology, CONFIG);
  t.equal((await daemon.reload()).msg, 'reloaded');
  for (const { name, number, targetPort, payload } of PROTOCOLS) {
    for (const family of FAMILIES) {
      const protocol = family === 4 ? ICMP : ICMPV6;
      const isAbout =
        (port: (packet: Uint8Array) => number, clientPort: number): Fits =>
        packet => {
          const inner = innerOf(packet);
          if (inner.length < headerBytes(packet) + 8) return false;
          return protocolOf(inner) === number && port(inner) === clientPort;
        };
      // From outside, about a reply: to the target.
      const client = clientAddress(family, 40);
      const reply = wirePacket(number, VIP[family], PORT, client, 41000, payload);
      await sendRaw(topology, [tooBig(ROUTER[family], VIP[family], 1280, reply)]);
      const there = await atTarget('an error', both(of(family, protocol), isAbout(destinationPort, 41000)));
      t.equal(sourcePort(innerOf(there)), targetPort, `${name}, IPv${family}: from outside`);
      t.ok(checksumsHold(there), 'with checksums that hold');

      // From a target, about a request: to the client.
      const request = wirePacket(number, client, 41001, VIP[family], targetPort, payload);
      const refusal = tooBig(VIP[family], client, 1280, request);
      await sendRawFromTarget(topology, TARGETS[0]!, [refusal]);
      const back = await atClient('an error', both(of(family, protocol), isAbout(sourcePort, 41001)));
      t.equal(destinationPort(innerOf(back)), PORT, `${name}, IPv${family}: from a target`);
      t.ok(checksumsHold(back), 'with checksums that hold');

      // From the load balancer, about a request that is too old.
      const old = wirePacket(number, client, 41002, VIP[family], PORT, payload);
      old[family === 4 ? 8 : 7] = 1;
      await sendRaw(topology, [withChecksums(old, number)]);
      const own = await atClient('an error', both(of(family, protocol), isAbout(sourcePort, 41002)));
      t.equal(sourceOf(own), VIP[family]);
      t.equal(destinationPort(innerOf(own)), PORT, `${name}, IPv${family}: from the load balancer`);
      t.ok(checksumsHold(own), 'with checksums that hold');

      // What is no NAT's is left alone.
      const foreign = wirePacket(number, VIP[family], PORT + 1, client, 41003, payload);
      await sendRawFromTarget(topology, TARGETS[0]!, [tooBig(VIP[family], client, 1280, foreign)]);
      const same = await atClient('an error', both(of(family, protocol), isAbout(destinationPort, 41003)));
      t.equal(sourcePort(innerOf(same)), PORT + 1, `${name}, IPv${family}: another port`);
      t.ok(checksumsHold(same), 'with checksums that hold');
    }
  }
});

/** One link that is too narrow for what its two ends agreed upon. */
const BOTTLENECKS = [
  { name: "the conduit, for the client's packets", externalMtu: 1500, learned: 1400, learns: 'client' },
  { name: "the way out, for the target's packets", externalMtu: 1290, learned: 1290, learns: 'target' },
] as const;

for (const { name, externalMtu, learned, learns } of BOTTLENECKS) {
  t.test(`path MTU discovery works through port NAT: ${name}`, async t => {
    const big = 'x'.repeat(60_000);
    const command = (namespace: string, ...argv: string[]) =>
      topology.processes.command([...Topology.inside(namespace), ...argv]);
    const setMtu = async (mtu: number): Promise<void> => {
      for (const namespace of [topology.gateway, topology.loadBalancer])
        await command(namespace, 'ip', 'link', 'set', EXTERNAL.name, 'mtu', `${mtu}`);
    };
    /** Anew: what was learned before goes with a route. It asks for segments that the narrow link does not take. */
    const route = async (namespace: string, family: Family, way: readonly string[]): Promise<void> => {
      await command(namespace, 'ip', `-${family}`, 'route', 'delete', way[0]!);
      await command(namespace, 'ip', `-${family}`, 'route', 'add', ...way, 'advmss', '1420');
    };
    await setMtu(externalMtu);
    for (const family of FAMILIES) {
      const out = ['via', EXTERNAL.loadBalancer[family], 'dev', EXTERNAL.name];
      await route(topology.gateway, family, [VIP[family], ...out]);
      for (const { identifier, conduit } of TARGETS) {
        const back = ['via', CONDUITS[conduit]!.loadBalancer[family], 'dev', 'conduit'];
        await route(topology.target(identifier), family, ['default', ...back]);
      }
      const connections = connectionsTo(family, [VIP[family]], 12, 38000, PORT);
      const owners = predict(CONFIG, connections);
      t.strictSame(answered(await clients.connect(connections, true)), owners);
      t.ok((await clients.echo(big)).every(Boolean), `IPv${family}: every byte comes back`);
      const index = owners.findIndex(owner => owner === 69 || owner === 62);
      const { sourcePort } = connections[index]!;
      const { stdout } = await (learns === 'client'
        ? command(topology.gateway, 'ss', '-tinH', 'sport', '=', `:${sourcePort}`)
        : command(topology.target(owners[index]!), 'ss', '-tinH', 'dport', '=', `:${sourcePort}`));
      t.match(stdout, new RegExp(`pmtu:${learned}\\b`), `IPv${family}: the ${learns} learned it`);
      await clients.close();
    }
    await setMtu(1500);
  });
}

t.test('after SIGKILL the next start clears away what it does not want', async t => {
  await daemon.stop('SIGKILL');
  daemon = startDaemon(topology, configText('tcp'));
  await daemon.ready();
  const listed = await inLoadBalancer(topology, 'nft', 'list', 'table', 'inet', 'meridio-nat');
  t.notMatch(listed, /UDP|SCTP/);
  t.match(listed, /chain 80-4000-TCP/);
  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});
