/** Two load balancers behind one gateway that spreads connections over them: both choose alike, so either may go. */
import t from 'tap';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { LabGateway } from '../../scripts/lab/gateway.js';
import { KernelWatch } from '../../scripts/lab/kernel-watch.js';
import { FAMILIES, LOAD_BALANCERS, type Pair, TCP_PORT } from '../../scripts/lab/plan.js';
import type { Connection } from '../../scripts/lab/syn.js';
import { Topology } from '../../scripts/lab/topology.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { A, B, BOUND_MS, bgpConfig, hosts, sessionsUp } from './bgp.js';
import { answered, connectionsTo, predict, startDaemon, startLab } from './lab.js';
import { connectingDuring } from './steady.js';

t.setTimeout(600_000);
const { topology, clients } = await startLab(t, { vips: hosts(A, B), staticRoutes: false, loadBalancers: 2 });
const gateway = new LabGateway(topology);
await gateway.start();
// By ports too: all connections of one client would take one way.
for (const family of ['ipv4', 'ipv6']) {
  const file = `/proc/sys/net/${family}/fib_multipath_hash_policy`;
  const argv = [...Topology.inside(topology.gateway), 'sh', '-c', `echo 1 >${file}`];
  await topology.processes.command(argv);
}
const watch = await KernelWatch.start(topology, topology.gateway, 'route');
const text = bgpConfig({ more: 'shutdownDelay: 2s\n' });
let port = 20_000;

function start(which: number): LabDaemon {
  return startDaemon(topology, text, [], topology.loadBalancers[which]);
}

function batch(): Connection[] {
  const connections = FAMILIES.flatMap(family => connectionsTo(family, [A[family], B[family]], 16, port));
  port += 16;
  return connections;
}

/** Until the gateway's ways to a VIP are those over these load balancers, in both families. */
async function untilOver(vips: Pair, wanted: readonly number[]): Promise<void> {
  await waitFor(`the gateway to reach ${vips[4]} over ${wanted}`, BOUND_MS, async () => {
    const routes = await gateway.routes(vips);
    return FAMILIES.every(family => {
      const found = LOAD_BALANCERS.flatMap(({ external }, which) =>
        routes[family].includes(`via ${external[family]} `) ? [which] : [],
      );
      return found.join() === wanted.join();
    });
  });
}

/** Which load balancer the gateway's kernel picks for each connection. */
async function pickedBy(connections: readonly Connection[]): Promise<number[]> {
  const picks = new Array<number>(connections.length);
  for (const family of FAMILIES) {
    const own = [...connections.entries()].filter(([, each]) => each.family === family);
    const input = own
      .map(
        ([, { source, sourcePort, destination, destinationPort }]) =>
          `route get ${destination} from ${source} ipproto tcp sport ${sourcePort} dport ${destinationPort}\n`,
      )
      .join('');
    const argv = ['ip', '-n', topology.gateway, `-${family}`, '-oneline', '-batch', '-'];
    const lines = (await topology.processes.command(argv, { input })).stdout.trim().split('\n');
    own.forEach(([index], n) => {
      picks[index] = LOAD_BALANCERS.findIndex(({ external }) =>
        lines[n]!.includes(`via ${external[family]} `),
      );
    });
  }
  return picks;
}

let daemons: LabDaemon[];

t.test('connections spread over both, and each reaches the target that either would choose', async t => {
  daemons = [start(0), start(1)];
  await Promise.all(daemons.map(daemon => daemon.ready()));
  await Promise.all(daemons.map(daemon => sessionsUp(daemon, 2)));
  for (const pair of [A, B]) await untilOver(pair, [0, 1]);
  const connections = [...batch(), ...batch(), ...batch()];
  t.strictSame(answered(await clients.connect(connections)), predict(text, connections));
  const packets = await Promise.all(
    daemons.map(async daemon =>
      (await daemon.status()).queues.reduce((sum, queue) => sum + queue.packets, 0),
    ),
  );
  t.ok(Math.min(...packets) > connections.length / 2, `packets through each: ${packets.join(' and ')}`);
});

t.test('one is killed: connections through the other are unharmed, its own go on by the other', async t => {
  const kept = FAMILIES.flatMap(family =>
    connectionsTo(family, [A[family], B[family]], 100, 50_000, TCP_PORT),
  );
  const owners = predict(text, kept);
  t.strictSame(answered(await clients.connect(kept, true)), owners);
  const picks = await pickedBy(kept);
  const counts = [0, 1].map(which => picks.filter(pick => pick === which).length);
  t.ok(Math.min(...counts) > 20, `connections through each: ${counts.join(' and ')}`);
  const steady = await connectingDuring(topology, clients, batch, async () => {
    const since = Date.now();
    daemons[0]!.signal('SIGKILL');
    for (const pair of [A, B]) await untilOver(pair, [1]);
    // The kernel has them before the monitor tells them.
    for (const vip of [A, B].flatMap(pair => Object.values(pair)))
      await watch.first(`another way to ${vip}`, new RegExp(`^(Deleted )?${vip} `), BOUND_MS, since);
    const last = watch.events().filter(({ at }) => at >= since);
    return { since, withdrawnMs: Math.round(last.at(-1)!.at - since) };
  });
  const echoed = await clients.echo('after the kill');
  const alive = [0, 1].map(which => echoed.filter((whole, index) => whole && picks[index] === which).length);
  t.comment(
    `withdrawn ${steady.result.withdrawnMs} ms after the kill; of ${counts[1]} connections through the other ` +
      `${alive[1]} live on, of ${counts[0]} through the killed one ${alive[0]}; ${steady.connections.length} began ` +
      `meanwhile, ${steady.retransmitted} of their segments were sent again`,
  );
  t.ok(steady.result.withdrawnMs < 1000 * (await leeway()), 'withdrawn within 1 s of an idle machine');
  await daemons[0]!.ended();
  t.strictSame(alive, counts, 'every connection lives on, to the same target');
  t.strictSame(answered(steady.answers), predict(text, steady.connections), 'no new connection failed');
  await clients.close();
});

t.test('one that starts joins, and a graceful stop of the other fails no connection', async t => {
  const joining = await connectingDuring(topology, clients, batch, async () => {
    daemons[0] = start(0);
    await daemons[0].ready();
    await sessionsUp(daemons[0], 2);
    for (const pair of [A, B]) await untilOver(pair, [0, 1]);
  });
  t.comment(
    `joining: ${joining.connections.length} connections, ${joining.retransmitted} segments sent again`,
  );
  t.strictSame(answered(joining.answers), predict(text, joining.connections), 'none fails while it joins');
  const kept = FAMILIES.flatMap(family => connectionsTo(family, [A[family]], 100, 55_000, TCP_PORT));
  t.strictSame(answered(await clients.connect(kept, true)), predict(text, kept));
  const leaving = await connectingDuring(topology, clients, batch, () => daemons[1]!.stop());
  t.equal(leaving.result.code, 0);
  t.comment(
    `leaving: ${leaving.connections.length} connections in ${leaving.result.milliseconds} ms, ` +
      `${leaving.retransmitted} segments sent again`,
  );
  t.strictSame(answered(leaving.answers), predict(text, leaving.connections), 'none fails while it leaves');
  t.ok((await clients.echo('after the stop')).every(Boolean), 'and open ones live on');
  await clients.close();
  t.equal((await daemons[0]!.stop()).code, 0);
});
