import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { TraceLine } from '../../host/control/api.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { TCP, UDP } from '../fixture/packet.js';
import { tshark } from '../fixture/tshark.js';
import { wirePacket } from '../fixture/wire.js';
import {
  answered,
  configFile,
  connectionsTo,
  inLoadBalancer,
  predict,
  startDaemon,
  startLab,
  TARGET_LINES,
  untilClosed,
} from './lab.js';
import { sendRaw } from './raw.js';

const vips = [`${VIP[4]}/32`, `${VIP[6]}/128`];
const list = `["${vips.join('", "')}"]`;
const text = `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${list}
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
shutdownDelay: 0s
streams:
  - name: a
    targets:
${TARGET_LINES}
  - {name: empty}
flows:
  - {name: web, stream: a, priority: 1, protocols: [tcp], vips: ${list}, destinationPortRanges: ["4000"]}
  - {name: nobody, stream: empty, priority: 1, protocols: [udp], vips: ${list}}
`;

t.setTimeout(600_000);
const { topology, clients } = await startLab(t, { vips });
const daemon = startDaemon(topology, text);
await daemon.ready();
let started = 0;

/** A command of magmark that runs until it is ended, and what it printed. */
class Watcher {
  output = '';
  readonly log = join(topology.directory, `watcher-${started++}.log`);
  private readonly child: ChildProcess;

  constructor(...args: string[]) {
    const argv = [...Topology.inside(topology.loadBalancer), 'node', MAGMARK, ...args];
    this.child = topology.processes.start(argv, this.log, 'pipes');
    this.child.stdout!.on('data', chunk => {
      this.output += chunk;
    });
  }

  said(): string {
    return readFileSync(this.log, 'utf8');
  }

  lines(): TraceLine[] {
    return this.output
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line) as TraceLine);
  }

  /** As Ctrl-C does. @returns its exit code */
  async interrupt(): Promise<number | null> {
    const ended = once(this.child, 'close');
    this.child.kill('SIGINT');
    return (await ended)[0] as number | null;
  }

  ended(): Promise<unknown> {
    return this.child.exitCode === null ? once(this.child, 'close') : Promise.resolve();
  }
}

/** Resolves once so many readers are served: their filters are with the workers. */
function reading(...watchers: Watcher[]): Promise<unknown> {
  return waitFor('the captures to begin', 60_000, () =>
    watchers.every(watcher => watcher.said().includes('capturing to')),
  );
}

t.test('a capture holds every packet with its decision, as tshark and magmark replay read it', async t => {
  const file = join(topology.directory, 'all.pcapng');
  const only6 = join(topology.directory, 'six.pcapng');
  const all = new Watcher('capture', '-w', file);
  const six = new Watcher(
    'capture',
    '-w',
    only6,
    '--dsts',
    vips[1]!,
    '--protocols',
    'tcp',
    '--snaplen',
    '60',
  );
  await reading(all, six);
  const connections = ([4, 6] as const).flatMap(family => connectionsTo(family, [VIP[family]], 60, 21000));
  const predicted = predict(text, connections);
  t.strictSame(answered(await clients.connect(connections)), predicted);
  await sendRaw(topology, [
    wirePacket(UDP, '198.51.100.7', 1, VIP[4], 53),
    wirePacket(TCP, '198.51.100.7', 1, VIP[4], 4001),
  ]);
  await untilClosed(topology, topology.clients);
  const { queues } = await waitFor('all to be decided', 60_000, async () => {
    const status = await daemon.status();
    const seen = status.queues.flatMap(({ reasons }) => Object.keys(reasons));
    const isWhole = seen.includes('no-target') && seen.includes('no-flow');
    return isWhole && status.queues.every(({ depth }) => depth === 0) && status;
  });
  const decided = queues.reduce((sum, queue) => sum + queue.packets, 0);
  t.equal(await all.interrupt(), 0);
  t.equal(await six.interrupt(), 0);
  t.match(all.said(), new RegExp(`${decided} packets written, 0 lost`));

  const rows = tshark(file, [
    'frame.comment',
    'frame.len',
    'ip.dst',
    'ipv6.dst',
    'tcp.srcport',
    'tcp.dstport',
  ]);
  t.equal(rows.length, decided);
  connections.forEach((connection, index) => {
    const identifier = predicted[index];
    const found = rows.filter(
      row =>
        row[4] === `${connection.sourcePort}` &&
        row[connection.family === 4 ? 2 : 3] === connection.destination,
    );
    const comment = `flow=web stream=a target=${identifier} mark=${5000 + identifier!} reason=ok`;
    if (found.length < 3 || found.some(row => row[0] !== comment))
      t.fail(`${connection.source} port ${connection.sourcePort}: ${comment}`, { found });
  });
  const comments = rows.map(row => row[0]);
  t.ok(comments.includes('flow=nobody stream=empty target=- mark=- reason=no-target'));
  t.ok(comments.includes('flow=- stream=- target=- mark=- reason=no-flow'));

  const argv = ['node', MAGMARK, 'replay', '--config', configFile(topology), '--json', file];
  const replayed = (await inLoadBalancer(topology, ...argv)).trim().split('\n');
  const told = replayed.map(line => {
    const { flow, stream, identifier, fwmark, reason } = JSON.parse(line) as Record<string, unknown>;
    return `flow=${flow ?? '-'} stream=${stream ?? '-'} target=${identifier ?? '-'} mark=${fwmark ?? '-'} reason=${reason}`;
  });
  t.strictSame(told, comments, 'the offline core decides what was captured as the live one did');

  const sixes = tshark(only6, ['ipv6.dst', 'frame.cap_len', 'frame.len']);
  t.equal(sixes.length, rows.filter(row => row[3] === VIP[6] && row[5] === '4000').length);
  t.ok(sixes.every(row => row[0] === VIP[6] && Number(row[1]) === Math.min(60, Number(row[2]))));
});

t.test(
  'a trace tells each decision as it is made, in JSON and for people, also to several readers',
  async t => {
    const json = new Watcher('trace', '--json', '--protocols', 'tcp', '--match', 'tcp[13:1] & 0x12 = 0x02');
    const people = new Watcher('trace', '--srcs', '198.51.100.9/32');
    // What is told first is that a reader is there; then one packet that both want comes until both have told it.
    const probe = wirePacket(TCP, '198.51.100.9', 9, VIP[4], 4000);
    await waitFor('both traces to tell', 60_000, async () => {
      await sendRaw(topology, [probe]);
      return json.output !== '' && people.output !== '';
    });
    const connections = connectionsTo(4, [VIP[4]], 40, 23000);
    await clients.connect(connections);
    const predicted = predict(text, connections);
    t.equal(await json.interrupt(), 0);
    t.equal(await people.interrupt(), 0);
    const packets = json.lines().filter(line => line.type === 'packet');
    connections.forEach(({ source, sourcePort }, index) => {
      t.match(
        packets.filter(each => each.source === source && each.sourcePort === sourcePort),
        [{ flow: 'web', stream: 'a', identifier: predicted[index], reason: 'ok', destinationPort: 4000 }],
      );
    });
    t.match(json.lines().at(-1), { type: 'end', lost: 0 });
    t.match(
      people.output,
      /^\d\d:\d\d:\d\d\.\d{6} tcp 198\.51\.100\.9:9 > 20\.0\.0\.1:4000 40 bytes, flow web, stream a, target \d+, mark 50\d\d\n/,
    );
    t.notMatch(people.output, /192\.0\.2|:23\d\d\d/, 'only what was asked for');
  },
);

t.test(
  'a capture to standard output ends by itself after --count, and a wrong filter names its faults',
  async t => {
    const piped = new Watcher('capture', '-w', '-', '--count', '3');
    await reading(piped);
    await clients.connect(connectionsTo(4, [VIP[4]], 2, 24000));
    await piped.ended();
    t.match(piped.said(), /3 packets written, 0 lost/);
    const { stderr, code } = await topology.processes.command(
      [
        ...Topology.inside(topology.loadBalancer),
        'node',
        MAGMARK,
        'trace',
        '--dsts',
        '20.0.0.1',
        '--dports',
        '0',
      ],
      { mayFail: true },
    );
    t.equal(code, 1);
    t.match(stderr, /^dsts: 20\.0\.0\.1 has no prefix length.*\ndports: 0 is not within ports 1 to 65535\n$/);
  },
);

t.test('the end of the daemon ends a trace, and leaves a capture whole', async t => {
  const file = join(topology.directory, 'end.pcapng');
  const capture = new Watcher('capture', '-w', file);
  await reading(capture);
  await clients.connect(connectionsTo(4, [VIP[4]], 5, 25000));
  await daemon.stop();
  await capture.ended();
  t.ok(tshark(file, ['frame.comment']).length >= 15);
});
