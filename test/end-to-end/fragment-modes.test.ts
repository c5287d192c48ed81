/** Fragments across reloads, takeovers and other hands, and where they are told of. */
import t, { type Test } from 'tap';
import type { TraceLine } from '../../host/control/api.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { UDP_PORT, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { fragmentOf, nameOf, piecesOf } from '../fixture/fragment.js';
import { UDP } from '../fixture/packet.js';
import { wirePacket } from '../fixture/wire.js';
import { connectionsTo, inLoadBalancer, startDaemon, startLab, TARGET_LINES, writeConfig } from './lab.js';
import { listenInTargets, sendRaw } from './raw.js';

const FAMILIES = [4, 6] as const;
const WAIT_MS = 60_000;
const CLIENT = '192.0.2.1';
const PAYLOAD_BYTES = 800;

const config = (more: string): string => `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32, "2000::1/128"]
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
metrics: {address: "127.0.0.1:9273"}
shutdownDelay: 0s
streams:
  - name: a
    targets:
${TARGET_LINES}
flows:
  - {name: udp, stream: a, priority: 1, protocols: [udp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["${UDP_PORT}"]}
${more}`;
const TRACK = config('fragments: track\nfragmentTimeout: 1s\n');
const KERNEL = config('fragmentTimeout: 1s\n');

t.setTimeout(600_000);
const { topology, clients } = await startLab(t);
let daemon = startDaemon(topology, KERNEL);
await daemon.ready();
const listeners = await listenInTargets(topology);

let port = 30_000;

async function expectDatagrams(t: Test, claim: string): Promise<void> {
  for (const family of FAMILIES) {
    port += 8;
    const results = await clients.datagrams(connectionsTo(family, [VIP[family]], 8, port, UDP_PORT), 5000);
    t.ok(
      results.every(each => 'intact' in each && each.intact),
      `${claim}, IPv${family}`,
    );
  }
}

const warnings = async () => (await daemon.status()).warnings.filter(line => line.startsWith('fragments'));
const defragTable = () => inLoadBalancer(topology, 'nft', 'list', 'table', 'inet', 'meridio-defrag');
interface Stats {
  readonly lookups: number;
  readonly fragsAllocated: number;
  readonly fragsDiscarded: number;
}

const stats = async () => JSON.parse((await daemon.nfqlb(['stats'])).stdout) as Stats;
const lookups = async () => (await stats()).lookups;

let identification = 1;

/** A datagram in fragments, the first one first. */
function fragments(): Uint8Array[] {
  const id = identification++;
  const whole = wirePacket(UDP, CLIENT, 2000 + id, VIP[4], UDP_PORT, new Array(PAYLOAD_BYTES).fill(id));
  return piecesOf(PAYLOAD_BYTES + 8, 400).map(piece => fragmentOf(whole, piece, id));
}

/** How many of `sent` have arrived, in any target. */
function arrived(sent: readonly Uint8Array[]): number {
  const names = [...listeners.values()].flatMap(({ packets }) => packets.map(nameOf));
  return sent.filter(fragment => names.includes(nameOf(fragment))).length;
}

t.test(
  'a running daemon that is told to track does so at once, and by the same rules behind a start',
  async t => {
    await expectDatagrams(t, 'the kernel puts together');
    t.equal(await lookups(), 0, 'no fragment was seen');
    writeConfig(topology, TRACK);
    t.equal((await daemon.reload()).msg, 'reloaded');
    // With the hooks of this rule every packet that waits in a queue would go.
    t.match(await defragTable(), /ct state untracked accept/);
    t.strictSame(await warnings(), []);
    await expectDatagrams(t, 'each fragment goes its way');
    const seen = await lookups();
    t.ok(seen > 0);
    const [first, ...later] = fragments();
    await sendRaw(topology, [...later, first!]);
    await waitFor('what came before its first to arrive', WAIT_MS, () => arrived([first!, ...later]) === 3);
    await daemon.stop();
    daemon = startDaemon(topology, TRACK);
    await daemon.ready();
    t.notMatch(await defragTable(), /ct state/);
    t.strictSame(await warnings(), []);
    await expectDatagrams(t, 'still');
    t.ok((await lookups()) > 0);
  },
);

t.test('another user of connection tracking is named while it is there, and changes nothing', async t => {
  await inLoadBalancer(
    topology,
    'iptables-nft',
    '-A',
    'FORWARD',
    '-m',
    'conntrack',
    '--ctstate',
    'NEW',
    '-j',
    'ACCEPT',
  );
  await daemon.reload();
  t.match(await warnings(), [
    /^fragments: track: table ip filter, chain FORWARD has the kernel track connections/,
  ]);
  const before = await lookups();
  await expectDatagrams(t, 'each fragment goes its way all the same');
  t.ok((await lookups()) > before);
  await inLoadBalancer(topology, 'nft', 'delete', 'table', 'ip', 'filter');
  await daemon.reload();
  t.strictSame(await warnings(), []);
});

t.test('where the first is lost the others are dropped when their time is over', async t => {
  const before = await stats();
  const [, ...later] = fragments();
  await sendRaw(topology, later);
  const given = async () => (await stats()).fragsDiscarded - before.fragsDiscarded;
  await waitFor('they are given up', WAIT_MS, async () => (await given()) === later.length);
  t.equal((await stats()).fragsAllocated - before.fragsAllocated, later.length, 'they were held');
  t.equal(arrived(later), 0);
  await waitFor('nothing to wait', WAIT_MS, async () =>
    (await daemon.status()).queues.every(({ depth }) => depth === 0),
  );
  writeConfig(topology, `${TRACK.replace('1s', '6s')}queueSpinMicroseconds: 50\n`);
  t.match(await daemon.reload(), {
    msg: 'reload refused',
    faults: [
      'queueSpinMicroseconds: 50 takes effect at the next start; it is 0 now',
      'fragmentTimeout: 6000ms takes effect at the next start; it is 1000ms now',
    ],
  });
  writeConfig(topology, TRACK);
});

t.test('traces and metrics tell what came of fragments', async t => {
  const trace = topology.processes.command([
    ...Topology.inside(topology.loadBalancer),
    ...['node', MAGMARK, 'trace', '--json', '--srcs', `${CLIENT}/32`, '--count', '12'],
  ]);
  const reading = async () => await inLoadBalancer(topology, 'curl', '-s', 'http://127.0.0.1:9273/metrics');
  // Until its reader is there, nothing is told.
  let lines: Extract<TraceLine, { type: 'packet' }>[] | null = null;
  void trace.then(({ stdout }) => {
    lines = stdout
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line) as TraceLine)
      .flatMap(line => (line.type === 'packet' ? [line] : []));
  });
  await waitFor('a trace to have seen enough', WAIT_MS, async () => {
    const [first, second, third] = fragments();
    await sendRaw(topology, [second!, first!, third!]);
    return lines !== null;
  });
  // Others are the client's errors about answers that it did not wait for.
  const traced = lines!.filter(({ inner }) => !inner);
  for (const line of traced) {
    if (line.fragment === 'held') t.match(line, { fwmark: null, flow: null, protocol: 'udp' });
    else t.match(line, { flow: 'udp', reason: 'ok', destinationPort: UDP_PORT, protocol: 'udp' });
  }
  t.strictSame([...new Set(traced.map(({ fragment }) => fragment))].sort(), ['first', 'held', 'later']);
  const text = await reading();
  for (const event of ['tracked', 'followed', 'held', 'released'])
    t.match(
      text,
      new RegExp(`^magmark_fragments_total\\{queue="[01]",event="${event}"\\} [1-9]`, 'm'),
      event,
    );
  t.match(text, /^magmark_queue_held_fragments\{queue="0"\} 0$/m);
});

t.test('a takeover costs no more than the packets whose fragments came on both sides of it', async t => {
  const [first, ...later] = fragments();
  const [firstBefore, ...laterAfter] = fragments();
  const before = await stats();
  await sendRaw(topology, [...later, firstBefore!]);
  await waitFor('they are held', WAIT_MS, async () => {
    return (await stats()).fragsAllocated === before.fragsAllocated + later.length;
  });
  const former = daemon;
  daemon = startDaemon(topology, TRACK, ['--takeover']);
  await daemon.ready();
  await former.ended();
  t.equal(former.exitCode, 0);
  await sendRaw(topology, [first!, ...laterAfter]);
  await waitFor('the first to arrive', WAIT_MS, () => arrived([first!]) === 1);
  await waitFor(
    'the others to be given up',
    WAIT_MS,
    async () => (await stats()).fragsDiscarded === laterAfter.length,
  );
  await expectDatagrams(t, 'behind it');
  t.strictSame([arrived(later), arrived(laterAfter)], [0, 0], 'these alone are lost');
  t.strictSame(await warnings(), [], 'no rule came back');
});

t.test('back to the kernel, without a new start', async t => {
  writeConfig(topology, KERNEL);
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.match(await defragTable(), /ct state untracked accept/);
  const before = await lookups();
  await expectDatagrams(t, 'the kernel puts together again');
  t.equal(await lookups(), before);
});

t.test('a takeover to track does so at once', async t => {
  const former = daemon;
  daemon = startDaemon(topology, TRACK, ['--takeover']);
  await daemon.ready();
  await former.ended();
  t.strictSame(await warnings(), []);
  await expectDatagrams(t, 'each fragment goes its way');
  t.ok((await lookups()) > 0);
  t.equal((await daemon.stop()).code, 0);
});
