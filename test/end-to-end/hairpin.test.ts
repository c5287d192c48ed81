/**
 * Hairpins: who talks to a VIP is a target itself. Targets own the VIPs that they serve, so what they send to these never
 * leaves them; here each pair of targets owns the VIPs of its own stream alone.
 */
import t, { type Test } from 'tap';
import { FAMILIES, type Pair, TARGETS, TCP_PORT } from '../../scripts/lab/plan.js';
import type { Connection } from '../../scripts/lab/syn.js';
import { Topology } from '../../scripts/lab/topology.js';
import { Clients, startTargets } from '../../scripts/lab/traffic.js';
import { A, B, hosts } from './bgp.js';
import { answered, kernelState, predict, startDaemon, untilClosed } from './lab.js';

/** Served by target 69 alone, whatever the ports: what comes back to it as a client. */
const OWN: Pair = { 4: '20.0.0.3', 6: '2000::3' };

const list = (pair: Pair) => `["${pair[4]}/32", "${pair[6]}/128"]`;
const text = `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ["${hosts(A, B, OWN).join('", "')}"]
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
shutdownDelay: 0s
streams:
  - name: a
    targets:
      - {identifier: 69, ips: [172.16.0.6, "fd00::6"]}
      - {identifier: 62, ips: [172.16.0.8, "fd00::8"]}
  - name: b
    targets:
      - {identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}
      - {identifier: 73, ips: [172.16.1.8, "fd00:0:0:1::8"]}
  - {name: own, targets: [{identifier: 69, ips: [172.16.0.6, "fd00::6"]}]}
flows:
  - {name: a, stream: a, priority: 1, protocols: [tcp], vips: ${list(A)}, destinationPortRanges: ["4000"]}
  - {name: b, stream: b, priority: 1, protocols: [tcp], vips: ${list(B)}, destinationPortRanges: ["4000"]}
  - {name: own, stream: own, priority: 1, protocols: [tcp], vips: ${list(OWN)}}
`;

t.setTimeout(600_000);
const topology = Topology.reserve({ vips: hosts(A, B, OWN) });
t.teardown(() => topology.destroy());
const client = 69;
const ips = TARGETS.find(({ identifier }) => identifier === client)!.ips;

/** Take addresses of a target away, or give them back. */
async function own(identifier: number, action: 'add' | 'del', pair: Pair): Promise<void> {
  for (const family of FAMILIES) {
    const nodad = action === 'add' && family === 6 ? ['nodad'] : [];
    const argv = ['ip', '-n', topology.target(identifier), `-${family}`, 'address', action];
    const host = `${pair[family]}/${family === 4 ? 32 : 128}`;
    await topology.processes.command([...argv, host, 'dev', 'lo', ...nodad]);
  }
}

try {
  await topology.create();
  // UDP is bound to addresses that every target has at first.
  await startTargets(topology);
} catch (error) {
  await topology.destroy();
  throw error;
}
for (const { identifier, conduit } of TARGETS) {
  await own(identifier, 'del', conduit === 0 ? B : A);
  if (identifier !== client) await own(identifier, 'del', OWN);
}
const pristine = await kernelState(topology);
const daemon = startDaemon(topology, text);
await daemon.ready();
const clients = new Clients(topology, topology.target(client));
let port = 20_000;

function from(source: Pair, destination: Pair, count = 40): Connection[] {
  const connections = FAMILIES.flatMap(family =>
    Array.from({ length: count }, (_, index) => ({
      family,
      source: source[family],
      sourcePort: port + index,
      destination: destination[family],
      destinationPort: TCP_PORT,
    })),
  );
  port += count;
  return connections;
}

async function expectChosen(t: Test, connections: readonly Connection[], claim: string): Promise<void> {
  const chosen = predict(text, connections);
  t.strictSame([...new Set(chosen)].sort(), [44, 73], 'other targets are chosen');
  t.strictSame(answered(await clients.connect(connections, true)), chosen, claim);
  t.ok((await clients.echo('hairpin')).every(Boolean), 'and data comes back');
  await clients.close();
}

t.test('a target reaches a VIP that others serve, from its own address', async t => {
  await expectChosen(t, from(ips, B), 'over both families, by those that the core names');
});

t.test('a target reaches a VIP from a VIP that comes back to it', async t => {
  await expectChosen(t, from(OWN, B), 'over both families, by those that the core names');
});

t.test('a target serves itself a VIP that it owns: nothing leaves it', async t => {
  await untilClosed(topology, topology.target(client));
  const before = (await daemon.status()).queues.reduce((sum, queue) => sum + queue.packets, 0);
  const connections = from(ips, A);
  t.ok(new Set(predict(text, connections)).size > 1, 'the core would choose others for some');
  t.strictSame(
    answered(await clients.connect(connections)),
    connections.map(() => client),
    'all are answered by itself',
  );
  const after = (await daemon.status()).queues.reduce((sum, queue) => sum + queue.packets, 0);
  // Ends of former connections may come in as well.
  t.ok(after - before < connections.length, `${after - before} packets came to the load balancer`);
});

t.test('a target that does not own the VIP and is chosen itself gets no answer, the others do', async t => {
  // Its own packet comes back to it with its own address as source, which its kernel takes for forged.
  await own(client, 'del', A);
  const connections = from(ips, A, 16);
  const chosen = predict(text, connections);
  for (const family of FAMILIES) {
    const own = chosen.filter((_, index) => connections[index]!.family === family);
    t.ok(own.includes(client) && own.includes(62), `IPv${family}: both are chosen`);
  }
  t.strictSame(
    answered(await clients.connect(connections)),
    chosen.map(identifier => (identifier === client ? null : identifier)),
    'those of the other one are answered',
  );
  await own(client, 'add', A);
});

t.test('and nothing is left', async t => {
  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});
