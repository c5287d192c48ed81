import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { StatusReply } from '../../host/control/api.js';
import { RUN_DIRECTORY } from '../../host/control/socket.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { clientAddress, UDP_PORT, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { UDP } from '../fixture/packet.js';
import { wirePacket } from '../fixture/wire.js';
import {
  answered,
  configFile,
  connectionsTo,
  inLoadBalancer,
  kernelState,
  predict,
  startDaemon,
  startLab,
  writeConfig,
} from './lab.js';
import { LOAD_PORT, Load } from './load.js';
import { sendRaw } from './raw.js';

/** Ranges, of which the clients use the first addresses. */
const RANGES = { 4: '20.0.0.0/28', 6: '2000::/124' } as const;
const VIPS = { 4: ['20.0.0.1', '20.0.0.2', '20.0.0.14'], 6: ['2000::1', '2000::2', '2000::e'] } as const;

const TARGETS: Readonly<Record<number, string>> = {
  69: '{identifier: 69, ips: [172.16.0.6, "fd00::6"]}',
  62: '{identifier: 62, ips: [172.16.0.8, "fd00::8"]}',
  44: '{identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}',
  73: '{identifier: 73, ips: [172.16.1.8, "fd00:0:0:1::8"]}',
};

/** Two streams; source ports from 50000 on go to the second by a flow of higher priority. */
function configText(more: { a?: readonly number[]; b?: readonly number[]; extra?: string } = {}): string {
  const targets = (identifiers: readonly number[]) =>
    identifiers.map(identifier => TARGETS[identifier]).join(', ');
  const vips = `["${RANGES[4]}", "${RANGES[6]}"]`;
  return `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${vips}
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}
streams:
  - {name: a, targets: [${targets(more.a ?? [69, 62, 44, 73])}]}
  - {name: b, maxTargets: 80, targets: [${targets(more.b ?? [44, 73])}]}
flows:
  - {name: all-tcp, stream: a, priority: 1, protocols: [tcp], vips: ${vips}, destinationPortRanges: ["4000"]}
  - {name: high-ports, stream: b, priority: 10, protocols: [tcp], vips: ${vips}, destinationPortRanges: ["4000"], sourcePortRanges: ["50000-59999"]}
  - {name: udp, stream: b, priority: 1, protocols: [udp], vips: ${vips}, destinationPortRanges: ["${UDP_PORT}"]}
${more.extra ?? ''}`;
}

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
// The targets own the ranges by routes; what a UDP server is bound to must be an address.
const { topology, clients } = await startLab(t, {
  vips: [...Object.values(RANGES), `${VIP[4]}/32`, `${VIP[6]}/128`],
});
const pristine = await kernelState(topology);
let port = 20000;

/** Connect from every client, in both families, and compare with the offline core. */
async function expectPredicted(t: Test, text: string, claim: string, firstPort?: number): Promise<void> {
  for (const family of [4, 6] as const) {
    const first = firstPort ?? port;
    const connections = connectionsTo(family, VIPS[family], 80, first);
    const predicted = predict(text, connections);
    t.ok(
      new Set(predicted).size > 1 && !predicted.includes(null),
      `IPv${family}: the prediction uses several targets`,
    );
    t.strictSame(answered(await clients.connect(connections)), predicted, `IPv${family}: ${claim}`);
  }
  if (firstPort === undefined) port += 80;
}

function listing(argv: readonly string[]): Promise<string> {
  return inLoadBalancer(topology, ...argv);
}

/** Whether the daemon has a handler for signal `number`. */
function catches(pid: number, number: number): boolean {
  // The pid is first that of a copy of this process, which has handlers of its own, then that of `ip netns exec`.
  const [program, file] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  if (program !== 'node' || file !== MAGMARK) return false;
  const mask = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
  return ((BigInt(`0x${mask}`) >> BigInt(number - 1)) & 1n) === 1n;
}

/** Whether every thread of a process is stopped by a signal. */
function standsStill(pid: number): boolean {
  const states = readdirSync(`/proc/${pid}/task`).map(thread => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2)[0];
  });
  return states.every(state => state === 'T');
}

async function status(): Promise<StatusReply> {
  return JSON.parse(await listing(['node', MAGMARK, 'status', '--json'])) as StatusReply;
}

t.test(
  'two streams share ranges of VIPs: each connection reaches the target that the core predicts',
  async t => {
    const text = configText();
    const daemon = startDaemon(topology, text);
    await daemon.ready();
    await expectPredicted(t, text, 'low source ports go to stream a');
    await expectPredicted(
      t,
      text,
      'high source ports go to stream b, whose flow has the higher priority',
      50100,
    );
    const low = connectionsTo(4, VIPS[4], 60, 21000);
    const high = connectionsTo(4, VIPS[4], 60, 51000);
    t.ok(predict(text, low).some(identifier => identifier === 69 || identifier === 62));
    t.notOk(predict(text, high).some(identifier => identifier === 69 || identifier === 62));

    t.test('UDP and ping of both families are answered', async t => {
      for (const family of [4, 6] as const) {
        const datagrams = connectionsTo(family, [VIP[family]], 40, 22000, UDP_PORT);
        const results = await clients.datagrams(datagrams, 400);
        t.ok(
          results.every(result => 'intact' in result && result.intact),
          `IPv${family} datagrams`,
        );
        const pings = datagrams
          .slice(0, 8)
          .map(({ source, destination }) => ({ source, destination, count: 2 }));
        t.strictSame(
          await clients.ping(pings),
          pings.map(() => 2),
          `IPv${family} pings`,
        );
      }
    });

    t.test('what no flow matches is dropped', async t => {
      const results = await clients.connect(connectionsTo(4, VIPS[4], 2, 23000, 4005));
      t.ok(results.every(result => 'error' in result));
      const { queues } = await status();
      t.ok(
        queues.some(queue => (queue.reasons['no-flow'] ?? 0) > 0),
        'and counted as no-flow',
      );
    });

    t.test('every queue works, and the listings tell', async t => {
      const { queues, targets, generation } = await status();
      t.equal(queues.length, 2);
      t.ok(queues.every(queue => queue.packets > 0 && queue.dropped === 0));
      t.equal(generation, 2);
      t.ok(targets.every(target => target.pending === null));
      const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
      for (const stream of new Set(targets.map(target => target.stream))) {
        const own = targets.filter(target => target.stream === stream);
        t.ok(sumOf(own.map(target => target.packets)) > 0, `${stream}: packets are counted by target`);
        t.ok(Math.abs(sumOf(own.map(target => target.packetShare!)) - 1) < 1e-9, `${stream}: their shares`);
        t.ok(Math.abs(sumOf(own.map(target => target.slotShare)) - 1) < 1e-9, `${stream}: shares of slots`);
      }
      const flows = JSON.parse(
        await listing(['node', MAGMARK.replace('magmark.js', 'nfqlb.js'), 'flow-list']),
      ) as { name: string; matches_count: number }[];
      t.strictSame(
        flows.map(flow => flow.name),
        ['tshm-b-high-ports', 'tshm-a-all-tcp', 'tshm-b-udp'],
      );
      t.ok(flows.every(flow => flow.matches_count > 0));
      const socket = (
        await listing(['sh', '-c', `ls ${RUN_DIRECTORY}/net-$(stat -Lc %i /proc/self/ns/net).sock`])
      ).trim();
      t.equal(statSync(socket).mode & 0o777, 0o600);
    });

    t.test('a second daemon in the namespace ends having changed nothing', async t => {
      const before = await kernelState(topology);
      const argv = [
        ...Topology.inside(topology.loadBalancer),
        'node',
        MAGMARK,
        'run',
        '--config',
        configFile(topology),
      ];
      const { code, stderr } = await topology.processes.command(argv, { mayFail: true });
      t.equal(code, 1);
      t.match(stderr, /another magmark runs in this network namespace/);
      t.equal(await kernelState(topology), before);
      await expectPredicted(t, text, 'the first one serves on');
    });

    t.test('SIGTERM removes everything that was made, in under 2 s, with exit 0', async t => {
      const { code, milliseconds, limit } = await daemon.stop();
      t.equal(code, 0);
      t.ok(milliseconds < limit, `${milliseconds} ms of ${limit}`);
      t.equal(await kernelState(topology), pristine);
      const inode = (await listing(['stat', '-Lc', '%i', '/proc/self/ns/net'])).trim();
      t.strictSame(
        readdirSync(RUN_DIRECTORY).filter(name => name.startsWith(`net-${inode}.`)),
        [],
      );
    });
  },
);

t.test('SIGHUP brings about the file, a faulty one changes nothing and says so', async t => {
  const before = configText();
  const daemon = startDaemon(topology, before);
  await daemon.ready();
  const kept = connectionsTo(4, VIPS[4], 60, 30000);
  const owners = predict(before, kept);
  t.strictSame(answered(await clients.connect(kept, true)), owners);

  const state = await kernelState(topology);
  for (const faulty of [
    `${before}colour: red\n`,
    'vips: [',
    before.replace('queues: "0:1"', 'queues: "0:2"'),
    before.replace('"20.0.0.0/28"', '"172.16.0.0/28"'),
  ]) {
    writeConfig(topology, faulty);
    const line = await daemon.reload();
    t.equal(line.msg, 'reload refused');
    t.ok((line.faults as string[]).length > 0, `${(line.faults as string[])[0]}`);
    t.equal(await kernelState(topology), state);
  }
  t.ok((await clients.echo('still there')).every(Boolean), 'every connection lives through faulty reloads');

  const after = configText({ a: [69, 44, 73] });
  writeConfig(topology, after);
  t.equal((await daemon.reload()).msg, 'reloaded');
  const moved = predict(after, kept).map((owner, index) => owner !== owners[index]);
  const echoed = await clients.echo('after the change');
  t.ok(
    moved.some(Boolean) && !moved.every(Boolean),
    `${moved.filter(Boolean).length} of ${moved.length} have to move`,
  );
  t.strictSame(
    echoed,
    moved.map(each => !each),
    'exactly the connections whose slot kept its owner live on',
  );
  t.notMatch(await listing(['ip', 'rule']), /lookup 5062/);
  t.equal((await listing(['ip', 'route', 'show', 'table', 'all'])).includes('table 5062'), false);
  await expectPredicted(t, after, 'new connections follow the new table');
  await clients.close();
  t.equal((await daemon.stop('SIGINT')).code, 0);
  t.equal(await kernelState(topology), pristine);
});

t.test(
  'too many flows are refused under traffic: no packet is lost, and status says why until a reload succeeds',
  async t => {
    const vips = `["${VIP[4]}/32", "${VIP[6]}/128"]`;
    const loaded = `  - {name: load, stream: a, priority: 1, protocols: [udp], vips: ${vips}, destinationPortRanges: ["${LOAD_PORT}"]}\n`;
    // Room for what comes while a busy machine lets the workers wait.
    const before = `queueLength: 8192${configText()}${loaded}`;
    const daemon = startDaemon(topology, before);
    await daemon.ready();
    const state = await kernelState(topology);
    const { generation } = await status();
    const many = Array.from(
      { length: 200_000 },
      (_, n) => `  - {name: f${n}, stream: b, priority: 1, vips: [20.0.0.${n % 16}/32]}\n`,
    );
    const load = await Load.start(topology, [VIP], 2000);
    writeConfig(topology, before + many.join(''));
    const line = await daemon.reload();
    const { sent, lost } = await load.stop();
    t.match(line, {
      msg: 'reload refused',
      code: 'IMAGE_TOO_LARGE',
      faults: ['more than 131072 flows: the configuration has 200004'],
    });
    t.comment(`${sent} datagrams, ${lost} lost`);
    t.ok(sent > 0);
    t.equal(lost, 0);
    t.equal(await kernelState(topology), state);
    const refused = await status();
    t.equal(refused.generation, generation, 'no image was built, nothing had to be taken back');
    t.strictSame(refused.warnings, [
      'the last reload was refused: more than 131072 flows: the configuration has 200004',
    ]);
    await expectPredicted(t, before, 'as before');

    writeConfig(topology, before);
    t.equal((await daemon.reload()).msg, 'reloaded');
    t.strictSame((await status()).warnings, []);
    await daemon.stop();
    t.equal(await kernelState(topology), pristine);
  },
);

t.test('after SIGKILL the next start repairs what was left and doubles nothing', async t => {
  const text = configText();
  const first = startDaemon(topology, text);
  await first.ready();
  const whole = await kernelState(topology);
  await first.stop('SIGKILL');
  t.equal(await kernelState(topology), whole, 'a killed daemon leaves its ruleset');

  // Somebody lost a rule and a route meanwhile, and the file has one target less.
  await listing(['ip', 'rule', 'del', 'fwmark', '5069', 'lookup', '5069']);
  await listing(['ip', '-6', 'route', 'del', 'default', 'table', '5044']);
  const less = configText({ a: [69, 44, 73] });
  const second = startDaemon(topology, less);
  await second.ready();
  await expectPredicted(t, less, 'the second daemon serves');
  const rules = (await listing(['ip', 'rule']))
    .split('\n')
    .filter(line => line.includes('fwmark 0x') && line.includes('lookup'));
  t.equal(rules.length, 5);
  t.equal(new Set(rules.map(line => line.replace(/^\d+:\s*/, ''))).size, 5, 'no rule stands twice');
  await second.stop();
  t.equal(await kernelState(topology), pristine);
});

t.test('signals that come in a heap: reloads are joined, a stop waits for none of them', async t => {
  const daemon = startDaemon(topology, configText());
  // From the first moment on that a process of ours can tell a signal from its end.
  await waitFor('the process to catch SIGHUP', 60_000, () => catches(daemon.pid, 1));
  daemon.signal('SIGHUP');
  await daemon.ready();
  await waitFor('the early SIGHUP to be honoured', 60_000, () =>
    daemon.log().some(line => line.msg === 'reloaded'),
  );
  const kept = connectionsTo(4, VIPS[4], 40, 34000);
  t.strictSame(answered(await clients.connect(kept, true)), predict(configText(), kept));
  for (let n = 0; n < 100; n++) daemon.signal('SIGHUP');
  t.ok((await clients.echo('in the heap')).every(Boolean), 'connections live through it');
  for (let n = 0; n < 100; n++) daemon.signal('SIGHUP');
  const { code, milliseconds, limit } = await daemon.stop();
  t.equal(code, 0);
  t.ok(milliseconds < limit, `stopped after ${milliseconds} ms of ${limit}`);
  const reloads = daemon.log().filter(line => line.msg === 'reloaded').length;
  t.ok(reloads < 100, `${reloads} reloads for 201 signals`);
  await clients.close();
  t.equal(await kernelState(topology), pristine);
});

t.test('a change that fails half-way is taken back: the former decisions stay in force', async t => {
  const before = configText();
  const daemon = startDaemon(topology, before);
  await daemon.ready();
  // In the daemon's own mount namespace, which `ip netns exec` made, nft fails from now on: rules and image are in place then.
  const nft = (await listing(['sh', '-c', 'command -v nft'])).trim();
  const inDaemon = (...argv: string[]) =>
    topology.processes.command(['nsenter', '-t', `${daemon.pid}`, '-m', ...argv]);
  await inDaemon('mount', '--bind', '/bin/false', nft);
  const after = configText({ a: [69], b: [73] });
  writeConfig(topology, after);
  const refused = await daemon.reload();
  t.equal(refused.msg, 'reload refused');
  t.match(refused.faults, [/nft/]);
  await expectPredicted(t, before, 'as before');
  await inDaemon('umount', nft);
  t.equal((await daemon.reload()).msg, 'reloaded');
  for (const family of [4, 6] as const) {
    const connections = connectionsTo(family, VIPS[family], 40, 35000);
    t.strictSame(
      answered(await clients.connect(connections)),
      predict(after, connections),
      `IPv${family}: as changed`,
    );
  }
  await daemon.stop();
  t.equal(await kernelState(topology), pristine);
});

t.test('a full queue drops what is configured, counts it, and goes on', async t => {
  const text = configText({ extra: 'queueLength: 10\n' }).replace('queues: "0:1"', 'queues: 0');
  const daemon = startDaemon(topology, text);
  await daemon.ready();
  const packets = Array.from({ length: 50 }, (_, index) =>
    wirePacket(UDP, clientAddress(4, index), 1000, VIP[4], UDP_PORT, [index]),
  );
  daemon.signal('SIGSTOP');
  try {
    await waitFor('every thread of the daemon to stand still', 60_000, () => standsStill(daemon.pid));
    await sendRaw(topology, packets);
    // Number, port id, waiting, mode, range, dropped by length, dropped by buffer, last id.
    await waitFor('all packets to be queued or dropped', 60_000, async () => {
      const fields = (await listing(['cat', '/proc/net/netfilter/nfnetlink_queue']))
        .trim()
        .split(/\s+/)
        .map(Number);
      return fields[2]! + fields[5]! + fields[6]! >= packets.length;
    });
  } finally {
    daemon.signal('SIGCONT');
  }
  const [queue] = (await status()).queues;
  // Ends of former connections may come in as well.
  t.ok(queue!.dropped >= packets.length - 10, `${queue!.dropped} were dropped`);
  await waitFor(
    'the waiting ones to be decided',
    60_000,
    async () => (await status()).queues[0]!.packets >= 10,
  );
  // Fewer at a time than the queue holds.
  const few = connectionsTo(4, VIPS[4], 4, 36000);
  t.strictSame(answered(await clients.connect(few)), predict(text, few), 'it serves on');
  await daemon.stop();
  t.equal(await kernelState(topology), pristine);
});

t.test('a journal that cannot be written refuses the change, and what ran goes on', async t => {
  const place = join(topology.directory, 'journals');
  mkdirSync(place);
  const daemon = startDaemon(topology, configText(), ['--journal', join(place, 'journal')]);
  await daemon.ready();
  const state = await kernelState(topology);
  const stowed = `${place}-away`;
  renameSync(place, stowed);
  writeConfig(topology, configText({ a: [69] }));
  const line = await daemon.reload();
  t.equal(line.msg, 'reload refused');
  t.match(line.faults, [/journals\/journal/]);
  t.equal(await kernelState(topology), state);
  await expectPredicted(t, configText(), 'it serves on');
  renameSync(stowed, place);
  t.equal((await daemon.reload()).msg, 'reloaded', 'with the directory back the change is made');
  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});

t.test(
  'a start that cannot have its socket or its journal ends with the reason, and nothing was changed',
  async t => {
    const file = join(topology.directory, 'config.yaml');
    writeConfig(topology, configText());
    const rows: [string, string[], RegExp][] = [
      ['a socket below a file', ['--socket', join(file, 's')], /config\.yaml/],
      ['a socket where a file stands', ['--socket', file], /not a socket/],
      ['a socket whose path is too long', ['--socket', `/tmp/${'s'.repeat(150)}`], /107 bytes/],
      ['a socket below /proc', ['--socket', '/proc/x/s'], /\/proc\/x cannot be made/],
      ['a journal below a file', ['--journal', join(file, 'j')], /config\.yaml/],
      ['a journal that is none', ['--journal', file], /journal/],
      ['no configuration', ['--config', '/nowhere/config.yaml'], /cannot be read/],
    ];
    for (const [claim, options, message] of rows) {
      const argv = [
        ...Topology.inside(topology.loadBalancer),
        'node',
        MAGMARK,
        'run',
        '--config',
        file,
        ...options,
      ];
      const { code, stderr } = await topology.processes.command(argv, { mayFail: true });
      t.ok(code === 1 || code === 2, `${claim}: exit ${code}`);
      t.match(stderr, message, claim);
      t.notMatch(stderr, /unexpected error/, claim);
    }
    t.equal(await kernelState(topology), pristine);
  },
);

t.test('a target without a way is pending, takes nothing, and serves once the way is there', async t => {
  const lost = '{identifier: 7, ips: [172.16.9.9, "fd00:0:0:9::9"]}';
  const text = configText()
    .replace('{name: b,', '{name: b, fwmarkOffset: 7000,')
    .replace('{name: a, targets: [', `{name: a, targets: [${lost}, `);
  // Main leads everywhere in this namespace, but no gateway of it is a neighbour.
  const daemon = startDaemon(topology, text);
  await daemon.ready();
  const pendingNow = async () => (await status()).targets.filter(target => target.pending !== null);
  const [pending, ...others] = await pendingNow();
  t.match(pending, { stream: 'a', identifier: 7, fwmark: 5007 });
  t.match(pending?.pending, /172\.16\.9\.9/);
  t.strictSame(others, []);
  await expectPredicted(t, configText(), 'the others take its share');
  const inTarget = (...argv: string[]) =>
    topology.processes.command([...Topology.inside(topology.target(44)), ...argv]);
  await inTarget('ip', 'address', 'add', '172.16.9.9/24', 'dev', 'conduit');
  await inTarget('ip', 'address', 'add', 'fd00:0:0:9::9/64', 'dev', 'conduit', 'nodad');
  await listing(['ip', 'address', 'add', '172.16.9.1/24', 'dev', 'conduit-a--f75b']);
  await listing(['ip', 'address', 'add', 'fd00:0:0:9::1/64', 'dev', 'conduit-a--f75b', 'nodad']);
  await waitFor(
    'the target to leave the pending ones',
    60_000,
    async () => (await pendingNow()).length === 0,
  );
  t.match(
    await listing(['ip', 'route', 'show', 'table', '5007']),
    /^default via 172\.16\.9\.9 dev conduit-a--f75b/,
  );
  await listing(['ip', 'address', 'del', '172.16.9.1/24', 'dev', 'conduit-a--f75b']);
  await listing(['ip', 'address', 'del', 'fd00:0:0:9::1/64', 'dev', 'conduit-a--f75b']);
  await inTarget('ip', 'address', 'del', '172.16.9.9/24', 'dev', 'conduit');
  await inTarget('ip', 'address', 'del', 'fd00:0:0:9::9/64', 'dev', 'conduit');
  await daemon.stop();
  t.equal(await kernelState(topology), pristine);
});

t.test("the machine's initial namespace is refused unless that is said", async t => {
  if (!existsSync('/proc/sys/net/core/dev_weight')) {
    return t.pass('this machine is itself a container with a namespace of its own: nothing to refuse');
  }
  const file = join(topology.directory, 'config.yaml');
  writeConfig(topology, configText());
  const { status: code, stderr } = spawnSync('node', [MAGMARK, 'run', '--config', file], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  t.equal(code, 2);
  t.match(stderr, /initial network namespace/);
  t.match(stderr, /--host-namespace/);
});
