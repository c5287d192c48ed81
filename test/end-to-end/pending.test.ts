/** Targets that cannot be reached, or whose health check says so, take no traffic until they can. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { answered, comparableState, connectionsTo, inLoadBalancer, startDaemon, startLab } from './lab.js';

/** What is promised, on an idle machine. */
const BACK_MS = 1000;
const VIPS = `["20.0.0.1/32", "2000::1/128"]`;
const ALL = [44, 62, 69, 73];

function configText(more: { target?: string; healthCheck?: string } = {}): string {
  return `
queues: 0
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${VIPS}
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}
streams:
  - name: a
${more.healthCheck === undefined ? '' : `    healthCheck: ${more.healthCheck}\n`}    targets:
      - {identifier: 69, ips: [172.16.0.6, "fd00::6"]}
      - {identifier: 62, ips: [172.16.0.8, "fd00::8"]}
      - {identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}
      - {identifier: 73, ips: [172.16.1.8, "fd00:0:0:1::8"]}
${more.target ?? ''}
flows:
  - {name: f, stream: a, priority: 1, vips: ${VIPS}}
`;
}

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const { topology, clients } = await startLab(t);
const pristine = await comparableState(topology);
const inside = async (namespace: string, script: string): Promise<string> =>
  (await topology.processes.command([...Topology.inside(namespace), 'sh', '-ec', script])).stdout;
const here = (script: string) => inLoadBalancer(topology, 'sh', '-ec', script);
let port = 20000;

/** Identifiers that status shows as pending, with their reasons; null where all serve. */
async function pending(daemon: LabDaemon): Promise<Map<number, string>> {
  const { targets } = await daemon.status();
  return new Map(
    targets.flatMap(({ identifier, pending }) => (pending === null ? [] : [[identifier, pending] as const])),
  );
}

async function untilPending(
  daemon: LabDaemon,
  identifiers: readonly number[],
  reason?: RegExp,
): Promise<void> {
  const what = `exactly [${identifiers}] to be pending${reason === undefined ? '' : ` for ${reason}`}`;
  let last = '';
  await waitFor(what, 60_000, async () => {
    const found = await pending(daemon);
    last = JSON.stringify([...found]);
    return (
      [...found.keys()].sort((a, b) => a - b).join() === [...identifiers].sort((a, b) => a - b).join() &&
      [...found.values()].every(text => reason?.test(text) ?? true)
    );
  }).catch(error => {
    throw new Error(`${error.message}; it was ${last}`, { cause: error });
  });
}

/** Who answers new connections, and who is in the Maglev table: exactly `identifiers`. */
async function serve(t: Test, daemon: LabDaemon, identifiers: readonly number[]): Promise<void> {
  const active = (await daemon.nfqlb(['show', '--shm=tshm-a'])).stdout.match(/Active:(.*)/)![1]!;
  const marks = [...active.matchAll(/(\d+)\(/g)].map(match => Number(match[1]) - 5000);
  t.strictSame(
    marks.sort((a, b) => a - b),
    identifiers,
    'the Maglev table holds who can be reached',
  );
  for (const family of [4, 6] as const) {
    const answers = answered(await clients.connect(connectionsTo(family, [VIP[family]], 60, port)));
    port += 60;
    t.strictSame([...new Set(answers)].sort(), identifiers, `IPv${family}: exactly they answer`);
  }
}

/** ms from `act` to the log's line that `message` holds of every one of `count` targets. */
async function delayOf(
  daemon: LabDaemon,
  message: string,
  count: number,
  act: () => Promise<unknown>,
): Promise<number> {
  const lines = () => daemon.log().filter(line => line.msg.startsWith(message));
  const before = lines().length;
  const from = Date.now();
  await act();
  const found = await waitFor(`${count} lines: ${message}`, 60_000, () =>
    lines().length >= before + count ? lines()[before + count - 1]! : null,
  );
  return Date.parse(String(found.time)) - from;
}

const PENDING = 'target is pending';
const SERVES = 'target is no longer pending';

async function within(t: Test, claim: string, milliseconds: number): Promise<void> {
  const limit = BACK_MS * (await leeway());
  t.ok(milliseconds < limit, `${claim}: ${milliseconds} ms of ${Math.round(limit)}`);
}

t.test('targets that cannot be reached', async t => {
  const lost = '      - {identifier: 7, ips: [172.16.9.9, "fd00::9"]}';
  const daemon = startDaemon(topology, configText({ target: lost }));
  await daemon.ready();

  await t.test('its next hop is not on-link', async t => {
    await untilPending(daemon, [7], /172\.16\.9\.9.*Network is unreachable|172\.16\.9\.9.*gateway/);
    await serve(t, daemon, ALL);
    await here('ip address add 172.16.9.1/24 dev conduit-a--d7c4');
    await untilPending(daemon, [7], /neighbour .* (has not answered yet|does not answer)/);
    await inside(topology.target(62), 'ip address add 172.16.9.9/24 dev conduit');
    // In one family it can be reached now, in the other nobody answers.
    await untilPending(daemon, [7], /^neighbour fd00::9 on \S+ (has not answered yet|does not answer)$/);
    await inside(topology.target(62), 'ip address add fd00::9/64 dev conduit nodad');
    await untilPending(daemon, []);
  });
  t.equal((await daemon.stop()).code, 0);
  await here('ip address del 172.16.9.1/24 dev conduit-a--d7c4');
  await inside(
    topology.target(62),
    'ip address del 172.16.9.9/24 dev conduit; ip address del fd00::9/64 dev conduit',
  );
  t.equal(await comparableState(topology), pristine);
});

t.test('links and neighbours that go and come back', async t => {
  const daemon = startDaemon(topology, configText());
  await daemon.ready();
  await untilPending(daemon, []);

  await t.test('a link loses its carrier', async t => {
    const away = await delayOf(daemon, PENDING, 2, () => inside(topology.switch, 'ip link set lb1 down'));
    await untilPending(daemon, [44, 73], /^link conduit-a--f75b is down(; link conduit-a--f75b is down)?$/);
    await serve(t, daemon, [62, 69]);
    const back = await delayOf(daemon, SERVES, 2, () => inside(topology.switch, 'ip link set lb1 up'));
    await untilPending(daemon, []);
    await serve(t, daemon, ALL);
    await within(t, 'out after the carrier went', away);
    await within(t, 'serving after the carrier came', back);
  });

  await t.test('a link is set down by its administrator, who brings its addresses back', async t => {
    await here('ip link set conduit-a--d7c4 down');
    await untilPending(daemon, [62, 69], /172\.16\.0\./);
    await serve(t, daemon, [44, 73]);
    const back = await delayOf(daemon, SERVES, 2, () =>
      here('ip link set conduit-a--d7c4 up; ip address add fd00::4/64 dev conduit-a--d7c4 nodad'),
    );
    await untilPending(daemon, []);
    await serve(t, daemon, ALL);
    await within(t, 'serving after the link came', back);
  });

  await t.test('a target falls silent: its neighbours fail, it is asked for, and comes back', async t => {
    const silent = 'type filter hook input priority 0;';
    await inside(
      topology.target(62),
      `nft add table arp silent; nft add chain arp silent input '{ ${silent} }'
       nft add rule arp silent input arp operation request counter drop
       nft add table inet silent; nft add chain inet silent input '{ ${silent} }'
       nft add rule inet silent input icmpv6 type nd-neighbor-solicit counter drop`,
    );
    // Otherwise the kernel asks only after somebody has sent to it, and waits 5 s more.
    await here('ip neigh flush to 172.16.0.8; ip -6 neigh flush to fd00::8');
    await untilPending(daemon, [62], /neighbour .* does not answer/);
    await serve(t, daemon, [44, 69, 73]);
    const counts = async () =>
      [
        ...(
          await inside(topology.target(62), 'nft list table arp silent; nft list table inet silent')
        ).matchAll(/packets (\d+)/g),
      ].map(match => Number(match[1]));
    const [before, from] = [await counts(), performance.now()];
    await waitFor('four solicitations more in each family', 60_000, async () =>
      (await counts()).every((count, index) => count >= before[index]! + 4),
    );
    const seconds = (performance.now() - from) / 1000;
    t.comment(
      `solicitations a second, IPv4 and IPv6: ${(await counts()).map((count, index) => ((count - before[index]!) / seconds).toFixed(1))}`,
    );
    const four = async () => inside(topology.target(62), 'nft delete table arp silent');
    await four();
    await untilPending(
      daemon,
      [62],
      /^neighbour fd00::8 on conduit-a--d7c4 (does not answer|has not answered yet)$/,
    );
    await serve(t, daemon, [44, 69, 73]);
    const back = await delayOf(daemon, SERVES, 1, () =>
      inside(topology.target(62), 'nft delete table inet silent'),
    );
    await untilPending(daemon, []);
    await serve(t, daemon, ALL);
    // The kernel asks once a second (retrans_time_ms).
    await within(t, 'serving after it answers, and the second between two questions', back - 1000);
  });

  await t.test('all targets are gone, and come back', async t => {
    await inside(topology.switch, 'ip link set lb0 down; ip link set lb1 down');
    await untilPending(daemon, ALL, /is down/);
    const { vips } = await daemon.status();
    t.ok(
      vips.every(vip => !vip.announced),
      'the VIPs are withdrawn',
    );
    const lost = await clients
      .ping([{ source: '192.0.2.1', destination: VIP[4], count: 1 }])
      .catch(() => [0]);
    t.strictSame(lost, [0]);
    const { queues } = await daemon.status();
    t.ok((queues[0]!.reasons['no-target'] ?? 0) > 0, 'what comes all the same is counted as no-target');
    const back = await delayOf(daemon, SERVES, 4, () =>
      inside(topology.switch, 'ip link set lb0 up; ip link set lb1 up'),
    );
    await untilPending(daemon, []);
    await serve(t, daemon, ALL);
    await within(t, 'serving after the carriers came', back);
    t.ok((await daemon.status()).vips.every(vip => vip.announced));
  });

  t.equal((await daemon.stop()).code, 0);
  t.equal(await comparableState(topology), pristine);
});

t.test('a target that is silent when the daemon starts', async t => {
  await inside(topology.target(73), 'ip link set conduit down');
  await here('ip neigh flush to 172.16.1.8; ip -6 neigh flush to fd00:0:0:1::8');
  const daemon = startDaemon(topology, configText());
  await daemon.ready();
  await untilPending(daemon, [73], /neighbour/);
  await serve(t, daemon, [44, 62, 69]);
  await inside(
    topology.target(73),
    `ip link set conduit up; ip address add fd00:0:0:1::8/64 dev conduit nodad
     ip route add default via 172.16.1.4; ip -6 route add default via fd00:0:0:1::4`,
  );
  await untilPending(daemon, []);
  await serve(t, daemon, ALL);
  t.equal((await daemon.stop()).code, 0);
  t.equal(await comparableState(topology), pristine);
});

t.test('health checks take a target out and bring it back', async t => {
  const server = `require('node:http').createServer((q, a) => a.end('well')).listen(8080, '::')`;
  for (const { identifier } of [
    { identifier: 69 },
    { identifier: 62 },
    { identifier: 44 },
    { identifier: 73 },
  ]) {
    topology.processes.start(
      [...Topology.inside(topology.target(identifier)), 'node', '-e', server],
      join(topology.directory, `http-${identifier}.log`),
    );
  }
  // A busy machine keeps nobody silent for so long three times in a row.
  const [intervalMs, timeoutMs] = [500, 450];
  const counted = `interval: ${intervalMs}ms, timeout: ${timeoutMs}ms, rise: 2, fall: 3`;
  const rows = [
    ['tcp', `{type: tcp, port: 4000, ${counted}}`, 'tcp dport 4000 reject with tcp reset'],
    ['http', `{type: http, port: 8080, path: /, ${counted}}`, 'tcp dport 8080 reject with tcp reset'],
    ['icmp', `{type: icmp, ${counted}}`, 'icmp type echo-request drop'],
  ] as const;
  for (const [type, healthCheck, rule] of rows) {
    const daemon = startDaemon(topology, configText({ healthCheck }));
    await daemon.ready();
    await untilPending(daemon, []);
    await waitFor(`${type}: all to be healthy`, 60_000, async () =>
      (await daemon.status()).targets.every(target => target.health === 'healthy'),
    );
    const away = await delayOf(daemon, PENDING, 1, () =>
      inside(
        topology.target(44),
        `nft add table inet ill; nft add chain inet ill input '{ type filter hook input priority 0; }'
         nft add rule inet ill input ${rule}`,
      ),
    );
    await untilPending(daemon, [44], /^unhealthy/);
    const active = (await daemon.nfqlb(['show', '--shm=tshm-a'])).stdout.match(/Active:(.*)/)![1]!;
    t.notMatch(active, /5044/, `${type}: an unhealthy target is not in the table`);
    const back = await delayOf(daemon, SERVES, 1, () =>
      inside(topology.target(44), 'nft delete table inet ill'),
    );
    await untilPending(daemon, []);
    await serve(t, daemon, ALL);
    // The check under way, `fall` or `rise` intervals, and one timeout.
    const slow = await leeway();
    t.ok(
      away < (intervalMs * 4 + timeoutMs) * slow,
      `${type}: out after ${away} ms, 3 x ${intervalMs} ms and a timeout`,
    );
    t.ok(
      back < (intervalMs * 3 + timeoutMs) * slow,
      `${type}: back after ${back} ms, 2 x ${intervalMs} ms and a timeout`,
    );
    t.equal((await daemon.stop()).code, 0);
  }
  t.equal(await comparableState(topology), pristine);
});

t.test('IPv6 is disabled: IPv4 works, and status says so; enabled, it is served again', async t => {
  const addresses = `
    for pair in "100:100::149/64 ext-vlan0" "fd00::4/64 conduit-a--d7c4" "fd00:0:0:1::4/64 conduit-a--f75b"; do
      set -- $pair; ip address replace $1 dev $2 nodad; done
    ip -6 route replace default via 100:100::150 dev ext-vlan0`;
  const disabled = async (value: 0 | 1) => {
    await here(`echo ${value} >/proc/sys/net/ipv6/conf/all/disable_ipv6`);
    if (value === 0) await here(addresses);
  };
  const says = async (daemon: LabDaemon, yes: boolean) =>
    waitFor(
      `the status ${yes ? '' : 'not '}to speak of IPv6`,
      20_000,
      async () => (await daemon.status()).warnings.some(line => /IPv6 is disabled/.test(line)) === yes,
    );
  const fours = async (claim: string) => {
    const answers = answered(await clients.connect(connectionsTo(4, [VIP[4]], 60, port)));
    port += 60;
    t.strictSame([...new Set(answers)].sort(), ALL, claim);
  };
  await disabled(1);
  const daemon = startDaemon(topology, configText());
  await daemon.ready();
  await says(daemon, true);
  await untilPending(daemon, []);
  await fours('disabled before the start: IPv4 is served');
  await disabled(0);
  await says(daemon, false);
  await untilPending(daemon, []);
  await serve(t, daemon, ALL);
  await disabled(1);
  await says(daemon, true);
  await untilPending(daemon, []);
  await fours('disabled while it runs: IPv4 is served');
  await disabled(0);
  await says(daemon, false);
  await untilPending(daemon, []);
  await serve(t, daemon, ALL);
  t.equal((await daemon.stop()).code, 0);
  t.equal(await comparableState(topology), pristine);
});
