/** A thousand targets: how long the configuration takes from cold, and one more of them. */
import t from 'tap';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { Topology } from '../../scripts/lab/topology.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { inLoadBalancer, kernelState, startDaemon, writeConfig } from './lab.js';

const COUNT = 1000;
const ROUNDS = 9;
/** What is promised, on an idle machine. */
const COLD_MS = 1000;
const ONE_MORE_MS = 100;

/** As the daemon logs them: of each part, and of all. */
type Parts = Readonly<Record<string, number>>;

/** Identifiers up to 10,000, spread; addresses of conduit-a--f75b's networks that its target 44 answers for. */
const identifier = (index: number): number => (index < COUNT ? 10 * (index + 1) : 10 * (index - COUNT) + 5);
const four = (index: number): string => `10.1.${128 + (index >> 8)}.${index & 255}`;
const six = (index: number): string => `fd01::1:${index.toString(16)}`;

function configText(count: number): string {
  const targets = Array.from(
    { length: count },
    (_, index) =>
      `      - {identifier: ${identifier(index)}, ips: ["${four(index + 2)}", "${six(index + 2)}"]}`,
  );
  return `
queues: 0
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ["20.0.0.1/32", "2000::1/128"]
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}
streams:
  - name: a
    maxTargets: 10000
    tableSize: 100000
    targets:
${targets.join('\n')}
flows:
  - {name: f, stream: a, priority: 1, vips: ["20.0.0.1/32", "2000::1/128"]}
`;
}

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
await topology.create();
const inside = (namespace: string, script: string) =>
  topology.processes.command([...Topology.inside(namespace), 'sh', '-ec', script]);
// One host answers for all of them; for IPv6 it needs each address, since it listens to their multicast groups.
await inside(
  topology.target(44),
  `ip route add local 10.1.128.0/17 dev conduit
   echo 0 >/proc/sys/net/ipv4/conf/all/arp_ignore
   for n in $(seq 2 ${COUNT + ROUNDS + 8}); do printf 'address add fd01::1:%x/128 dev conduit nodad\n' $n; done | ip -batch -`,
);
await inside(
  topology.loadBalancer,
  'ip address add 10.1.0.1/16 dev conduit-a--f75b; ip address add fd01::1/64 dev conduit-a--f75b nodad',
);
const pristine = await kernelState(topology);
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

const partsText = (parts: Parts): string =>
  Object.entries(parts)
    .map(([part, milliseconds]) => `${part} ${milliseconds}`)
    .join(', ');

async function pendingOf(daemon: LabDaemon): Promise<number> {
  return (await daemon.status()).targets.filter(target => target.pending !== null).length;
}

t.test('a thousand targets of two families from cold, and one more', async t => {
  const from = Date.now();
  const daemon = startDaemon(topology, configText(COUNT));
  const ready = await daemon.ready();
  const cold = ready.milliseconds as Parts;
  t.comment(`ready ${Date.parse(String(ready.time)) - from} ms after the process began: ${partsText(cold)}`);
  await waitFor('every neighbour to answer', 20_000, async () => (await pendingOf(daemon)) === 0);
  const rules = await inLoadBalancer(topology, 'ip', 'rule');
  t.equal(rules.split('\n').filter(line => /fwmark 0x\w+ lookup/.test(line)).length, COUNT);

  const rounds: Parts[] = [];
  const signals: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    writeConfig(topology, configText(COUNT + round));
    const asked = Date.now();
    const line = await daemon.reload();
    t.equal(line.msg, 'reloaded');
    rounds.push(line.milliseconds as Parts);
    signals.push(Date.parse(String(line.time)) - asked);
  }
  const slow = await leeway();
  const parts = Object.keys(rounds[0]!).map(
    part => [part, median(rounds.map(round => round[part] ?? 0))] as const,
  );
  t.comment(`one more, medians: ${partsText(Object.fromEntries(parts))}`);
  // A look at the kernel that the reload before caused may be under way, and is waited for.
  t.comment(`from the signal to the log's line, right after another reload: ${median(signals)} ms`);
  const configured = cold.all! - cold.neighbours!;
  t.ok(
    configured < COLD_MS * slow,
    `cold, neighbours aside: ${configured} ms of ${Math.round(COLD_MS * slow)}`,
  );
  const all = median(rounds.map(round => round.all!));
  t.ok(all < ONE_MORE_MS * slow, `one more: ${all} ms of ${Math.round(ONE_MORE_MS * slow)}`);
  const { milliseconds, code } = await daemon.stop();
  t.equal(code, 0);
  t.comment(`stopped in ${milliseconds} ms`);
  t.equal(await kernelState(topology), pristine);
});
