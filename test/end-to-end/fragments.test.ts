/** `fragments: track`: each fragment of a packet reaches the target that the whole packet would, whatever happens on its way. */
import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { loadConfig } from '../../host/config/load.js';
import { Simulator } from '../../host/simulator/simulator.js';
import type { Family } from '../../host/types/config.js';
import { CLIENTS, clientAddress, TARGETS, TCP_PORT, UDP_PORT, VIP } from '../../scripts/lab/plan.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { fragmentOf, nameOf, type Piece, piecesOf } from '../fixture/fragment.js';
import { be16, UDP } from '../fixture/packet.js';
import { tooBig, wirePacket } from '../fixture/wire.js';
import {
  answered,
  connectionsTo,
  inLoadBalancer,
  predict,
  startDaemon,
  startLab,
  TARGET_LINES,
  writeConfig,
} from './lab.js';
import { PacketCount } from './packet-count.js';
import { listenInTargets, sendRaw } from './raw.js';

const FAMILIES = [4, 6] as const;
const ARRIVAL_MS = 60_000;
/** Fragments of a flood, and how many a second: less for a slow machine. */
const FLOOD = Number(process.env.MAGMARK_FLOOD ?? 8000);
const FLOOD_SECONDS = 2;
/** Of a queue. */
const MOST_HELD = 256;
const PAYLOAD_BYTES = 1200;
const PIECE_BYTES = 400;
const MOST_GROWTH_BYTES = 32 * 1024 * 1024;

/**
 * Its time-out is more than any machine stalls between two fragments: what is held here stays until its first comes. Its
 * queues have room for what comes while a busy machine lets a worker wait.
 */
const CONFIG = `
queues: "0:1"
queueLength: 8192
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32, "2000::1/128"]
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
fragments: track
fragmentTimeout: 60s
streams:
  - name: a
    targets:
${TARGET_LINES}
flows:
  - {name: tcp, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["${TCP_PORT}"]}
  - {name: udp, stream: a, priority: 1, protocols: [udp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["${UDP_PORT}"]}
`;

t.setTimeout(600_000);
const { topology, clients } = await startLab(t);
const daemon = startDaemon(topology, CONFIG);
t.comment(`carrier ${(await daemon.ready()).carrier}`);
const listeners = await listenInTargets(topology);
const simulator = Simulator.fromConfig(loadConfig(CONFIG, 'config.yaml'));

interface Stats {
  readonly inserts: number;
  readonly lookups: number;
  readonly rejected: number;
  readonly fragsAllocated: number;
  readonly fragsDiscarded: number;
}

async function stats(): Promise<Stats> {
  return JSON.parse((await daemon.nfqlb(['stats'])).stdout) as Stats;
}

/** Where each fragment arrived, in the order of its arrivals. */
function arrivals(): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const [identifier, { packets }] of listeners) {
    for (const packet of packets) {
      const name = nameOf(packet);
      if (name !== null) found.set(name, [...(found.get(name) ?? []), identifier]);
    }
  }
  return found;
}

let packets = 0;

/** A datagram of its own client and identification, and where it goes. */
function datagram(family: Family) {
  const number = packets++;
  const source = clientAddress(family, number % CLIENTS);
  const bytes = Array.from({ length: PAYLOAD_BYTES }, (_, n) => (number + n) & 0xff);
  const whole = wirePacket(UDP, source, 20_000 + number, VIP[family], UDP_PORT, bytes);
  const pieces = piecesOf(PAYLOAD_BYTES + 8, PIECE_BYTES);
  const fragment = (piece: Piece) => fragmentOf(whole, piece, 1000 + number);
  return { pieces, fragment, target: simulator.decide(whole).identifier! };
}

/** What is sent of a packet, from its pieces in their order. */
type Way = (pieces: readonly Piece[]) => Piece[];

const WAYS: Readonly<Record<string, Way>> = {
  'in order': pieces => [...pieces],
  reversed: pieces => pieces.toReversed(),
  'the first in the middle': ([first, ...rest]) => [...rest.slice(0, 2), first!, ...rest.slice(2)],
  'each twice': pieces => pieces.flatMap(piece => [piece, piece]),
  'twice, the first behind the others': ([first, ...rest]) => [...rest, ...rest, first!, first!],
  'overlapping, and within another': pieces => [
    ...pieces.slice(0, 1),
    { from: 200, to: 600 },
    { from: 408, to: 416 },
    ...pieces.slice(1),
  ],
  'overlapping, the first last': pieces => [{ from: 200, to: 600 }, ...pieces.slice(1), pieces[0]!],
  'two firsts that overlap': pieces => [{ from: 0, to: 48 }, ...pieces],
  'without a middle one': ([first, , ...rest]) => [first!, ...rest],
  'without the last': pieces => pieces.slice(0, -1),
};

/** Send, and expect each where its packet goes, as often as it was sent. */
async function expectArrival(
  t: Test,
  sent: readonly { readonly claim: string; readonly fragment: Uint8Array; readonly target: number }[],
): Promise<void> {
  await sendRaw(
    topology,
    sent.map(({ fragment }) => fragment),
  );
  const wanted = new Map<string, { claim: string; targets: number[] }>();
  for (const { claim, fragment, target } of sent) {
    const name = nameOf(fragment)!;
    const targets = [...(wanted.get(name)?.targets ?? []), target];
    wanted.set(name, { claim: `${claim}: ${name}`, targets });
  }
  await waitFor('all fragments to arrive', ARRIVAL_MS, () => {
    const found = arrivals();
    return [...wanted].every(([name, { targets }]) => (found.get(name)?.length ?? 0) >= targets.length);
  }).catch(() => t.comment('not all have arrived'));
  const found = arrivals();
  for (const [name, { claim, targets }] of wanted) t.strictSame(found.get(name), targets, claim);
}

t.test('no rule switches the kernel’s reassembly on, and nothing is warned of', async t => {
  const table = await inLoadBalancer(topology, 'nft', 'list', 'table', 'inet', 'meridio-defrag');
  t.match(table, /notrack/);
  t.notMatch(table, /ct state/);
  t.strictSame(
    (await daemon.status()).warnings.filter(line => line.includes('fragments')),
    [],
  );
});

t.test(
  'fragments that are reordered, doubled, overlapping or lost reach the target of their packet',
  async t => {
    const sent = FAMILIES.flatMap(family =>
      Object.entries(WAYS).flatMap(([way, choose]) => {
        const { pieces, fragment, target } = datagram(family);
        const claim = `IPv${family}, ${way}`;
        return choose(pieces).map(piece => ({ claim, fragment: fragment(piece), target }));
      }),
    );
    await expectArrival(t, sent);
    t.ok(new Set(sent.map(({ target }) => target)).size > 1, 'several targets');
  },
);

t.test('fragments of many packets that come among each other reach the target of theirs', async t => {
  const rows = FAMILIES.flatMap(family =>
    Array.from({ length: 12 }, (_, n) => {
      const { pieces, fragment, target } = datagram(family);
      const claim = `IPv${family}, among others`;
      const turned = n % 2 === 0 ? pieces : pieces.toReversed();
      return turned.map(piece => ({ claim, fragment: fragment(piece), target }));
    }),
  );
  const most = Math.max(...rows.map(row => row.length));
  const woven = Array.from({ length: most }, (_, n) => rows.flatMap(row => row.slice(n, n + 1))).flat();
  await expectArrival(t, woven);
});

/** `fragment` of IPv6 with other headers in front of its fragment header (RFC 8200, section 4.1). */
function behind(protocols: readonly number[], fragment: Uint8Array): Uint8Array {
  const headers = protocols.flatMap((_, n) => [protocols[n + 1] ?? fragment[6]!, 0, 1, 4, 0, 0, 0, 0]);
  const packet = Uint8Array.from([...fragment.subarray(0, 40), ...headers, ...fragment.subarray(40)]);
  packet.set(be16(packet.length - 40), 4);
  packet[6] = protocols[0]!;
  return packet;
}

/** What forwarding leaves as it is. */
function lasting(packet: Uint8Array): string {
  const hex = Buffer.from(packet).toString('hex');
  return packet[0]! >> 4 === 4 ? hex.slice(8, 16) + hex.slice(24) : hex.slice(16);
}

const HOP_BY_HOP = 0;
const DESTINATION_OPTIONS = 60;
const ROUTER = { 4: '198.51.100.7', 6: '2001:db8:7::7' } as const;

t.test(
  'fragments of other forms reach the target of their packet, or none where it cannot be told',
  async t => {
    const rows: { claim: string; packet: Uint8Array; targets: number[] }[] = [];
    const add = (claim: string, packets: readonly Uint8Array[], target: number | null) =>
      rows.push(...packets.map(packet => ({ claim, packet, targets: target === null ? [] : [target] })));
    for (const family of FAMILIES) {
      // Of an error the first fragment has just the ports of the packet inside.
      const cause = wirePacket(
        UDP,
        VIP[family],
        UDP_PORT,
        clientAddress(family, 3),
        7777,
        new Array(64).fill(9),
      );
      const error = tooBig(ROUTER[family], VIP[family], 1280, cause);
      const size = (family === 4 ? 8 + 20 : 8 + 40) + 8;
      const pieces = piecesOf(error.length - (family === 4 ? 20 : 40), size - (size % 8));
      t.ok(pieces.length > 1);
      const parts = pieces.map(piece => fragmentOf(error, piece, 70_007)).toReversed();
      add(`IPv${family}, an error in fragments`, parts, simulator.decide(error).identifier!);

      const empty = datagram(family);
      const [first] = empty.pieces.map(empty.fragment);
      const nothing = empty.fragment({ from: 800, to: 800 });
      add(`IPv${family}, one without a byte`, [first!, nothing], empty.target);

      // RFC 1858, section 3: a first fragment without ports.
      const tiny = wirePacket(
        UDP,
        clientAddress(family, 5),
        7778,
        VIP[family],
        UDP_PORT,
        new Array(64).fill(9),
      );
      const cut = fragmentOf(tiny, { from: 0, to: 2 }, 70_008);
      const rest = fragmentOf(tiny, { from: 8, to: 72 }, 70_008);
      add(`IPv${family}, of a first that ends before its ports`, [rest, cut, rest], null);
    }
    const [one, other] = [datagram(6), datagram(6)];
    add(
      'IPv6, behind hop-by-hop and destination options',
      one.pieces.map(piece => behind([HOP_BY_HOP, DESTINATION_OPTIONS], one.fragment(piece))).toReversed(),
      one.target,
    );
    const whole = other.fragment({ from: 0, to: PAYLOAD_BYTES + 8 });
    add('IPv6, a whole packet with a fragment header (RFC 6946)', [whole], other.target);
    await sendRaw(
      topology,
      rows.map(({ packet }) => packet),
    );
    const found = (packet: Uint8Array): number[] =>
      [...listeners].flatMap(([identifier, { packets: all }]) =>
        all.filter(each => lasting(each) === lasting(packet)).map(() => identifier),
      );
    await waitFor('all to arrive', ARRIVAL_MS, () =>
      rows.every(({ packet, targets }) => found(packet).length >= targets.length),
    ).catch(() => t.comment('not all have arrived'));
    for (const { claim, packet, targets } of rows) t.strictSame(found(packet), targets, claim);
    await waitFor('none to wait', ARRIVAL_MS, async () => (await depths()).join() === '0,0');
  },
);

const depths = async () => (await daemon.status()).queues.map(({ depth }) => depth);

t.test(
  'a reload keeps what is held: it leaves behind its first, as the new configuration has it',
  async t => {
    for (const family of FAMILIES) {
      const { pieces, fragment } = datagram(family);
      const [first, ...later] = pieces.map(fragment);
      await sendRaw(topology, later);
      await waitFor('they are held', ARRIVAL_MS, async () => {
        return (await depths()).reduce((sum, depth) => sum + depth) === later.length;
      });
      t.notOk(
        later.some(each => arrivals().has(nameOf(each)!)),
        'none has arrived',
      );
      const gone = TARGETS[FAMILIES.indexOf(family)]!.identifier;
      writeConfig(topology, CONFIG.replace(new RegExp(`^.*identifier: ${gone},.*\n`, 'm'), ''));
      t.equal((await daemon.reload()).msg, 'reloaded');
      await sendRaw(topology, [first!]);
      await waitFor('all to arrive', ARRIVAL_MS, () =>
        [first!, ...later].every(each => arrivals().has(nameOf(each)!)),
      );
      t.equal(
        new Set([first!, ...later].flatMap(each => arrivals().get(nameOf(each)!)!)).size,
        1,
        'at one target',
      );
      t.notOk(arrivals().get(nameOf(first!)!)!.includes(gone), 'that there is');
    }
    writeConfig(topology, CONFIG);
    await daemon.reload();
  },
);

const datagramsTo = (family: Family, count: number, port: number) =>
  connectionsTo(family, [VIP[family]], count, port, UDP_PORT);

/** Each is answered whole, by the same target as the same datagram would be without fragments. */
async function expectDatagrams(t: Test, port: number, claim: string): Promise<void> {
  for (const family of FAMILIES) {
    const connections = datagramsTo(family, 16, port);
    const results = await clients.datagrams(connections, 5000);
    const wanted = connections.map(({ source, sourcePort, destination, destinationPort }) => ({
      identifier: simulator.decide(wirePacket(UDP, source, sourcePort, destination, destinationPort))
        .identifier,
      intact: true,
    }));
    t.strictSame(results, wanted, `${claim}, IPv${family}`);
  }
}

t.test('datagrams of 5,000 bytes are put together by their target', async t => {
  const before = await stats();
  await expectDatagrams(t, 30_000, 'answered whole');
  const { inserts, lookups } = await stats();
  t.ok(inserts - before.inserts >= 32, `${inserts - before.inserts} firsts were remembered`);
  t.ok(lookups - before.lookups >= 3 * 32, `${lookups - before.lookups} later ones were asked about`);
});

t.test('a flood of fragments without firsts, and of firsts, harms nobody else', async t => {
  const memory = () =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))![1]) * 1024;
  const resident = memory();
  // What the wire loses, whose backlog all of a processor's links share, nobody can see.
  const came = await PacketCount.start(topology, topology.loadBalancer, {
    firsts4: 'ip saddr 198.18.0.0/16 ip frag-off & 0x1fff == 0',
    firsts6: 'ip6 saddr 2001:db8:ffff::/48 frag frag-off 0',
    later4: 'ip saddr 198.18.0.0/16 ip frag-off & 0x1fff != 0',
    later6: 'ip6 saddr 2001:db8:ffff::/48 frag frag-off != 0',
  });
  const before = await stats();
  const flood = Array.from({ length: FLOOD }, (_, n) => {
    const family = FAMILIES[n % 2]!;
    const source =
      family === 4 ? `198.18.${(n >> 3) & 255}.${n & 255}` : `2001:db8:ffff::${((n >> 1) % 0xfffe) + 1}`;
    const whole = wirePacket(UDP, source, n & 0xffff, VIP[family], UDP_PORT, new Array(24).fill(0));
    return fragmentOf(whole, n % 4 < 2 ? { from: 8, to: 24 } : { from: 0, to: 8 }, n);
  });
  let over = false;
  const flooding = sendRaw(topology, flood, Math.round(FLOOD / FLOOD_SECONDS)).finally(() => {
    over = true;
  });
  let rounds = 0;
  do {
    for (const family of FAMILIES) {
      const connections = connectionsTo(family, [VIP[family]], 32, 40_000 + 64 * rounds);
      const answers = await clients.connect(connections);
      t.strictSame(
        answered(answers),
        predict(CONFIG, connections),
        `connections, IPv${family}, round ${rounds}`,
      );
    }
    await expectDatagrams(t, 50_000 + 64 * rounds, `fragmented datagrams, round ${rounds}`);
    rounds++;
  } while (!over);
  await flooding;
  const { firsts4, firsts6, later4, later6 } = await came.read();
  const [firsts, later] = [firsts4 + firsts6, later4 + later6];
  t.comment(`${firsts} firsts and ${later} later ones came of ${FLOOD / 2} each`);
  t.ok(Math.min(firsts, later) > FLOOD / 4, 'a flood');
  await waitFor('all of the flood to be seen', ARRIVAL_MS, async () => {
    const { inserts, fragsAllocated } = await stats();
    return inserts - before.inserts >= firsts && fragsAllocated - before.fragsAllocated >= later;
  });
  await waitFor(`no more than ${MOST_HELD} to be held in each queue`, ARRIVAL_MS, async () =>
    (await depths()).every(depth => depth <= MOST_HELD),
  );
  for (const { dropped } of (await daemon.status()).queues) t.equal(dropped, 0, 'the queue was never full');
  const growth = memory() - resident;
  t.ok(growth < MOST_GROWTH_BYTES, `memory grew by ${growth} bytes`);
});

t.test('the daemon ends as it should', async t => {
  t.equal((await daemon.stop()).code, 0);
});
