/** What Prometheus, probes and supervisors are told, against packets that were counted when they were sent. */

import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../host/config/load.js';
import { Simulator } from '../../host/simulator/simulator.js';
import type { Judgement } from '../../host/types/health.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { TARGETS, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { TCP, UDP } from '../fixture/packet.js';
import { wirePacket } from '../fixture/wire.js';
import { type ReadFamily, total } from '../metrics/exposition-reader.js';
import { promtool } from '../metrics/promtool.js';
import { DatagramReceiver } from '../notify/receiver.js';
import { inLoadBalancer, startDaemon, TARGET_LINES, writeConfig } from './lab.js';
import { sendRaw } from './raw.js';
import { get, judged, scrape } from './scrape.js';

const VIPS = `["${VIP[4]}/32", "${VIP[6]}/128"]`;
const BASE = 'http://127.0.0.1:9273';

function configText(more: { metrics?: string | null; priority?: number } = {}): string {
  const { metrics = '127.0.0.1:9273', priority = 1 } = more;
  return `
queues: "0:1"
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${VIPS}
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
streams:
  - name: a
    targets:
${TARGET_LINES}
  - {name: empty}
flows:
  - {name: web, stream: a, priority: ${priority}, protocols: [tcp], vips: ${VIPS}, destinationPortRanges: ["4000"]}
  - {name: nobody, stream: empty, priority: 1, protocols: [udp], vips: ${VIPS}, destinationPortRanges: ["53"]}
${metrics === null ? '' : `metrics: {address: "${metrics}"}`}
`;
}

/** Clients that nobody answers to: what they send is all that comes. */
const SILENT = { 4: '198.51.100', 6: '2001:db8:ffff:' } as const;

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
const inside = async (namespace: string, script: string): Promise<string> =>
  (await topology.processes.command([...Topology.inside(namespace), 'sh', '-ec', script])).stdout;
try {
  await topology.create();
  // The targets swallow what they get: no answer, no ICMP error that would be one packet more.
  for (const { identifier } of TARGETS)
    await inside(
      topology.target(identifier),
      `nft 'table inet sink { chain in { type filter hook prerouting priority -300;
         ip saddr ${SILENT[4]}.0/24 drop; ip6 saddr ${SILENT[6]}:/64 drop; }; }'`,
    );
} catch (error) {
  await topology.destroy();
  throw error;
}

type Families = ReadonlyMap<string, ReadFamily>;

/** Every counter, and every part of a histogram that only grows, by its series. */
function counters(families: Families): Map<string, number> {
  const found = new Map<string, number>();
  for (const { type, samples } of families.values()) {
    if (type === 'gauge') continue;
    for (const { name, labels, value } of samples) found.set(`${name}${JSON.stringify(labels)}`, value);
  }
  return found;
}

function fellBack(before: Families, after: Families): string[] {
  const now = counters(after);
  return [...counters(before)].flatMap(([series, value]) =>
    (now.get(series) ?? -1) >= value ? [] : [`${series}: ${value}, then ${now.get(series)}`],
  );
}

t.test('numbers are exactly those of the packets that were sent', async t => {
  const daemon = startDaemon(topology, configText());
  await daemon.ready();
  const simulator = Simulator.fromConfig(loadConfig(configText(), 'config.yaml'));
  const before = await scrape(topology, BASE);
  t.equal(total(before, 'magmark_packets_total'), 0);
  t.equal(total(before, 'magmark_stream_active_targets', { stream: 'a' }), 4);
  t.match(
    before.get('magmark_build_info')!.samples.map(({ labels }) => labels),
    [{ node: process.version, carrier: /^(nft|xtables)$/, version: /^\d/ }],
  );

  const hosts = Array.from({ length: 40 }, (_, n) => n + 1);
  const packets = ([4, 6] as const).flatMap(family =>
    hosts.flatMap(host => {
      const source = family === 4 ? `${SILENT[4]}.${host}` : `${SILENT[6]}:${host.toString(16)}`;
      return [
        wirePacket(TCP, source, 1000 + host, VIP[family], 4000),
        wirePacket(TCP, source, 2000 + host, VIP[family], 4000, new Array(host).fill(7)),
        ...(host <= 7 ? [wirePacket(TCP, source, 3000, VIP[family], 81)] : []),
        ...(host <= 5 ? [wirePacket(UDP, source, 3000, VIP[family], 53, [1, 2, 3])] : []),
      ];
    }),
  );
  const decisions = packets.map(packet => ({ packet, ...simulator.decide(packet) }));
  await sendRaw(topology, packets);
  await waitFor('all packets to be decided and answered, and the gateway to be up', 60_000, async () => {
    const { queues, gateways } = await daemon.status();
    return (
      queues.reduce((sum, queue) => sum + queue.packets, 0) >= packets.length &&
      queues.every(({ depth }) => depth === 0) &&
      gateways.every(({ sessions }) => sessions.length === 2 && sessions.every(({ up }) => up))
    );
  });
  const after = await scrape(topology, BASE);

  for (const reason of ['ok', 'no-flow', 'no-target', 'not-ip', 'truncated', 'bad-header'] as const) {
    const meant = decisions.filter(decision => decision.reason === reason);
    const verdict = reason === 'ok' ? 'accept' : 'drop';
    t.equal(total(after, 'magmark_packets_total', { verdict, reason }), meant.length, `packets: ${reason}`);
    t.equal(
      total(after, 'magmark_packet_bytes_total', { verdict, reason }),
      meant.reduce((sum, { packet }) => sum + packet.length, 0),
      `bytes: ${reason}`,
    );
  }
  t.strictSame(
    decisions.filter(({ reason }) => reason === 'ok').length + 24,
    packets.length,
    'the plan: 160 that are answered for, 14 and 10 that are not',
  );
  t.equal(total(after, 'magmark_packets_total'), packets.length, 'and nothing else came');
  for (const name of ['web', 'nobody']) {
    const meant = decisions.filter(decision => decision.flow === name).length;
    t.equal(total(after, 'magmark_flow_matches_total', { flow: name }), meant, `flow ${name}`);
  }
  let share = 0;
  for (const { identifier } of TARGETS) {
    const labels = { stream: 'a', target: identifier };
    const meant = decisions.filter(decision => decision.identifier === identifier).length;
    t.ok(meant > 0);
    t.equal(total(after, 'magmark_target_packets_total', labels), meant, `target ${identifier}`);
    t.equal(total(after, 'magmark_target_active', labels), 1);
    share += total(after, 'magmark_target_table_share_ratio', labels);
  }
  t.ok(Math.abs(share - 1) < 1e-9, 'the shares of a table are a whole');
  t.equal(total(after, 'magmark_batch_packets_sum'), packets.length);
  const { queues } = await daemon.status();
  t.equal(
    total(after, 'magmark_batch_packets_count'),
    queues.reduce((sum, { batches }) => sum + batches, 0),
  );
  t.equal(total(after, 'magmark_queue_waiting_packets'), 0);
  t.equal(total(after, 'magmark_queue_dropped_packets_total'), 0);
  // The first batch of each queue, and each 64th.
  t.ok(total(after, 'magmark_batch_decision_seconds_count') >= 1);
  t.ok(total(after, 'magmark_batch_decision_seconds_sum') > 0);
  t.ok(total(after, 'magmark_timed_packets_total') >= 1);
  t.equal(total(after, 'magmark_gateway_session_up', { gateway: 'g' }), 2);
  t.equal(total(after, 'magmark_bird_up'), 1);
  t.ok(total(after, 'process_resident_memory_bytes') > 1e7);
  t.strictSame(fellBack(before, after), []);
  t.equal(promtool((await get(topology, `${BASE}/metrics`)).text) ?? '', '');

  await t.test('a reload loses none of them, and is counted', async t => {
    writeConfig(topology, configText({ priority: 5 }));
    t.equal((await daemon.reload()).msg, 'reloaded');
    const reloaded = await scrape(topology, BASE);
    t.strictSame(fellBack(after, reloaded), []);
    t.equal(total(reloaded, 'magmark_packets_total'), packets.length);
    t.equal(total(reloaded, 'magmark_target_packets_total'), total(after, 'magmark_target_packets_total'));
    t.equal(total(reloaded, 'magmark_reloads_total', { result: 'success' }), 1);
    t.ok(total(reloaded, 'magmark_generation') > total(after, 'magmark_generation'));
    t.ok(
      total(reloaded, 'magmark_config_last_reload_success_timestamp_seconds') >
        total(after, 'magmark_config_last_reload_success_timestamp_seconds'),
    );
    writeConfig(topology, 'vips: []');
    t.equal((await daemon.reload()).msg, 'reload refused');
    const refused = await scrape(topology, BASE);
    t.equal(total(refused, 'magmark_reloads_total', { result: 'refused' }), 1);
    t.equal(total(refused, 'magmark_config_last_reload_successful'), 0);
    t.equal(total(refused, 'magmark_generation'), total(reloaded, 'magmark_generation'));
    t.strictSame(fellBack(reloaded, refused), []);
  });

  await t.test('what others change is mended and counted', async t => {
    await inLoadBalancer(topology, 'ip', 'route', 'flush', 'table', '5044');
    await waitFor('a repair to be told', 60_000, async () => {
      const families = await scrape(topology, BASE);
      return (
        total(families, 'magmark_reconcile_repairs_total') > 0 &&
        total(families, 'magmark_reconcile_runs_total') > 0
      );
    });
    t.pass();
  });
  t.equal((await daemon.stop()).code, 0);
});

t.test('the address follows the configuration; one that is taken changes nothing', async t => {
  const daemon = startDaemon(topology, configText({ metrics: null }));
  await daemon.ready();
  const status = async (base: string) => (await get(topology, `${base}/healthz`)).status;
  const moveTo = async (metrics: string | null) => {
    writeConfig(topology, configText({ metrics }));
    return daemon.reload();
  };
  t.equal(await status(BASE), 0, 'off unless configured');
  t.equal((await moveTo('127.0.0.1:9273')).msg, 'reloaded');
  t.equal(await status(BASE), 200, 'on');
  t.equal((await moveTo(':9273')).msg, 'reloaded');
  t.equal(await status('http://[::1]:9273'), 200, 'to all addresses, over the same port');
  t.equal(await status('http://169.254.100.149:9273'), 200);
  t.equal((await moveTo('[::1]:9300')).msg, 'reloaded');
  t.equal(await status('http://[::1]:9300'), 200, 'elsewhere');
  t.equal(await status(BASE), 0);

  const holder = topology.processes.start(
    [
      ...Topology.inside(topology.loadBalancer),
      'node',
      '-e',
      `require('node:net').createServer().listen(9400, '127.0.0.1', () => console.log('ready'))`,
    ],
    join(topology.directory, 'holder.log'),
  );
  await waitFor('the port to be taken', 60_000, async () =>
    (await inLoadBalancer(topology, 'ss', '-ltnH', 'sport = :9400')).includes('9400'),
  );
  const generation = (await daemon.status()).generation;
  const refused = await moveTo('127.0.0.1:9400');
  t.match(refused, {
    msg: 'reload refused',
    faults: ['metrics.address: 127.0.0.1:9400 is taken: something else listens there'],
  });
  t.equal((await daemon.status()).generation, generation, 'nothing else was changed');
  t.equal(await status('http://[::1]:9300'), 200, 'and it is served where it was');
  t.equal((await moveTo(null)).msg, 'reloaded');
  t.equal(await status('http://[::1]:9300'), 0, 'off again');
  t.equal((await daemon.stop()).code, 0);

  const late = startDaemon(topology, configText({ metrics: '127.0.0.1:9400' }));
  await late.ended();
  t.match(late.log().at(-1), {
    msg: 'cannot start',
    code: 'CLASH',
    faults: ['metrics.address: 127.0.0.1:9400 is taken: something else listens there'],
  });
  holder.kill();
});

t.test('ready goes with the targets; alive stays', async t => {
  const links = (state: 'up' | 'down') =>
    inside(topology.switch, `ip link set lb0 ${state}; ip link set lb1 ${state}`);
  await links('down');
  const daemon = startDaemon(topology, configText());
  await daemon.ready();
  const health = async (...args: string[]) => {
    const argv = [...Topology.inside(topology.loadBalancer), 'node', MAGMARK, 'health', ...args];
    return topology.processes.command(argv, { mayFail: true });
  };
  const untilReady = async (t: Test, wanted: boolean, claim: string) => {
    const { status, judgement } = await waitFor(`ready to be ${wanted}`, 60_000, async () => {
      const found = await judged(topology, `${BASE}/readyz`);
      return found.judgement.ok === wanted && found;
    });
    t.equal(status, wanted ? 200 : 503, claim);
    const targets = judgement.conditions.find(({ name }) => name === 'targets');
    t.match(targets, { ok: wanted, detail: `${wanted ? 4 : 0} of 4 targets take traffic` });
    t.match(
      judgement.conditions.map(({ name }) => name),
      ['workers', 'ruleset', 'targets', 'announced'],
    );
    t.equal((await judged(topology, `${BASE}/healthz`)).status, 200, 'alive all the same');
    const asked = await health('--ready', '--json');
    t.equal(asked.code, wanted ? 0 : 1);
    t.equal((JSON.parse(asked.stdout) as Judgement).ok, wanted);
    t.equal((await health()).code, 0);
  };
  const all = async (wanted: number) =>
    waitFor(`${wanted} active targets`, 60_000, async () => {
      const { targets } = await daemon.status();
      return targets.filter(({ pending }) => pending === null).length === wanted;
    });
  await untilReady(t, false, 'no target can be reached');
  const labels = { stream: 'a', reason: 'link' };
  // The kernel tells of a lost carrier within a second.
  await waitFor('all four to be counted as pending for their links', 60_000, async () => {
    return total(await scrape(topology, BASE), 'magmark_stream_pending_targets', labels) === 4;
  });
  await links('up');
  await all(4);
  await untilReady(t, true, 'all are back');
  await links('down');
  await all(0);
  await untilReady(t, false, 'the last one is gone');
  await links('up');
  await all(4);
  await untilReady(t, true, 'and back again');
  t.match((await health('--ready')).stdout, /^ready\nok {2}workers {4}2 of 2 queues are bound\n/);
  t.equal((await daemon.stop()).code, 0);
  const gone = await health();
  t.equal(gone.code, 1);
  t.match(gone.stderr, /no magmark answers there/);
});

t.test('a supervisor is told of the start, of reloads and of the stop', async t => {
  const socket = join(topology.directory, 'notify');
  const supervisor = await DatagramReceiver.start(socket);
  t.teardown(() => supervisor.stop());
  const environment = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1000000' };
  const daemon = startDaemon(topology, configText(), [], topology.loadBalancer, environment);
  const told = () => supervisor.datagrams.filter(text => text !== 'WATCHDOG=1');
  const until = (what: string, expected: RegExp) =>
    waitFor(what, 60_000, () => told().find(text => expected.test(text)));
  await daemon.ready();
  await until('READY', /^READY=1\nSTATUS=/);
  t.match(told()[0], /^READY=1\nSTATUS=(?:not )?ready: [^\n]+; generation \d+$/);
  await until('the status to follow', /STATUS=ready: .*4 of 4 targets take traffic/);
  const bird = (await daemon.status()).bird.pid!;
  const variables = await inLoadBalancer(topology, 'cat', `/proc/${bird}/environ`);
  t.notMatch(variables, /NOTIFY_SOCKET|WATCHDOG/, 'its children cannot speak for it');

  const seen = told().length;
  await daemon.reload();
  await waitFor('a reload to be told', 60_000, () =>
    told()
      .slice(seen)
      .some(text => /^READY=1/.test(text)),
  );
  const reloading = told()
    .slice(seen)
    .find(text => /^(RELOADING|READY)=1/.test(text));
  const at = BigInt(/^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(reloading!)![1]!);
  const now = process.hrtime.bigint() / 1000n;
  t.ok(at < now && at > now - 60_000_000n, 'by the clock of systemd');
  writeConfig(topology, 'vips: []');
  t.equal((await daemon.reload()).msg, 'reload refused');
  await until('the refusal', /^READY=1\nSTATUS=.*the last reload was refused/);
  await waitFor(
    'signs of life',
    60_000,
    () => supervisor.datagrams.filter(text => text === 'WATCHDOG=1').length >= 3,
  );
  t.equal((await daemon.stop()).code, 0);
  t.equal(told().at(-1), 'STOPPING=1\nSTATUS=stopping');
});
