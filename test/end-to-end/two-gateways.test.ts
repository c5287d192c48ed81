/** Two gateways with BFD: one is cut off without a word, and answers go by the other. */
import t, { type Test } from 'tap';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { egress, LabGateway } from '../../scripts/lab/gateway.js';
import { KernelWatch } from '../../scripts/lab/kernel-watch.js';
import { ACCESS, EXTERNAL, FAMILIES, GATEWAYS, type Pair } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { A, B, BOUND_MS, bgpConfig, hosts, sessionsUp } from './bgp.js';
import { answered, connectionsTo, kernelState, predict, startDaemon, startLab, writeConfig } from './lab.js';
import { connectingDuring } from './steady.js';

t.setTimeout(600_000);
const { topology, clients } = await startLab(t, { vips: hosts(A, B), staticRoutes: false, gateways: 2 });
const gateways = [new LabGateway(topology, 0), new LabGateway(topology, 1)];
await Promise.all(gateways.map(gateway => gateway.start()));
const pristine = await kernelState(topology);
const watch = await KernelWatch.start(topology, topology.loadBalancer, 'route');
let port = 20_000;

const ip = (...words: string[]) => topology.processes.command(['ip', ...words]);

// What the clients send goes by the second gateway: the first one is cut off, and what they know of it is not the matter.
for (const family of FAMILIES) {
  for (const pair of [A, B]) {
    await ip('-n', topology.clients, `-${family}`, 'route', 'flush', pair[family]);
    const way = ['via', ACCESS.gateways[1]![family], 'dev', ACCESS.name];
    await ip('-n', topology.clients, `-${family}`, 'route', 'add', pair[family], ...way);
  }
}

/** Which gateways table 4096 leads to, by their indexes, when it is so in both families. */
function untilEgress(wanted: readonly number[]): Promise<true> {
  return waitFor(`table 4096 to lead to gateways ${wanted}`, BOUND_MS, async () => {
    const tables = await egress(topology);
    return FAMILIES.every(family => {
      const found = GATEWAYS.flatMap((pair, which) =>
        tables[family].includes(`via ${pair[family]} `) ? [which] : [],
      );
      return found.join() === wanted.join();
    });
  });
}

/** Every packet of a gateway that comes from, or goes to, the external network is dropped. */
async function cut(which: number): Promise<void> {
  const chain = (hook: string, match: string) =>
    `chain ${hook} { type filter hook ${hook} priority -400; ${match} "${EXTERNAL.name}" drop; };`;
  const table = `table inet cut { ${chain('prerouting', 'iifname')} ${chain('postrouting', 'oifname')} }`;
  const argv = [...Topology.inside(topology.gateways[which]!), 'nft', '-f', '-'];
  await topology.processes.command(argv, { input: table });
}

async function mend(which: number): Promise<void> {
  const argv = [...Topology.inside(topology.gateways[which]!), 'nft', 'delete', 'table', 'inet', 'cut'];
  await topology.processes.command(argv);
}

/** Packets that came to a gateway from the external network. */
async function received(which: number): Promise<number> {
  const file = `/sys/class/net/${EXTERNAL.name}/statistics/rx_packets`;
  const argv = [...Topology.inside(topology.gateways[which]!), 'cat', file];
  return Number((await topology.processes.command(argv)).stdout);
}

function batch() {
  const connections = FAMILIES.flatMap(family => connectionsTo(family, [A[family], B[family]], 16, port));
  port += 16;
  return connections;
}

/** Cut the first gateway under connections that come and stay, and mend it. */
async function expectMoved(t: Test, text: string, before: readonly number[]): Promise<void> {
  const kept = FAMILIES.flatMap(family => connectionsTo(family, [A[family], B[family]], 40, 50_000));
  t.strictSame(answered(await clients.connect(kept, true)), predict(text, kept), 'connections that stay');
  const { result, connections, answers, retransmitted } = await connectingDuring(
    topology,
    clients,
    batch,
    async () => {
      const since = Date.now();
      await cut(0);
      await untilEgress([1]);
      const changes = FAMILIES.map(async family => {
        const matches = family === 4 ? /169\.254.* table 4096 / : /100:100.* table 4096 /;
        // The kernel has it before the monitor tells it.
        await watch.first('the change of a default route', matches, BOUND_MS, since);
        return watch
          .events()
          .filter(({ at, text }) => at >= since && matches.test(text))
          .at(-1)!.at;
      });
      return Math.round(Math.max(...(await Promise.all(changes))) - since);
    },
  );
  t.comment(
    `both default routes moved ${result} ms after the cut; ${connections.length} connections began meanwhile, ` +
      `${retransmitted} of their segments were sent again`,
  );
  t.ok(result < 1500 * (await leeway()), 'three times what BFD takes, on an idle machine');
  t.strictSame(answered(answers), predict(text, connections), 'no new connection failed');
  t.ok((await clients.echo('by the other')).every(Boolean), 'and those that were open live on');
  const only = await received(0);
  const connected = batch();
  t.strictSame(answered(await clients.connect(connected)), predict(text, connected), 'all go by the other');
  t.ok((await received(0)) - only < connected.length, 'nothing comes to the gateway that is cut off');
  const mended = Date.now();
  await mend(0);
  await untilEgress(before);
  t.comment(`back ${Date.now() - mended} ms after it was mended`);
  t.ok((await clients.echo('by both again')).every(Boolean), 'and they live on when it is back');
  await clients.close();
}

const text = bgpConfig({ gateways: [0, 1] });
let daemon: LabDaemon;

t.test('answers go by both gateways, and by one when the other is cut off', async t => {
  daemon = startDaemon(topology, text);
  await daemon.ready();
  await sessionsUp(daemon, 4);
  await untilEgress([0, 1]);
  for (const gateway of gateways) {
    await waitFor('the VIPs in its table', BOUND_MS, async () => {
      const [a, b] = [await gateway.routes(A), await gateway.routes(B)];
      return FAMILIES.every(family => a[family] !== '' && b[family] !== '');
    });
  }
  const before = await Promise.all([received(0), received(1)]);
  const connected = [...batch(), ...batch()];
  t.strictSame(answered(await clients.connect(connected)), predict(text, connected));
  const answersBy = (await Promise.all([received(0), received(1)])).map(
    (count, which) => count - before[which]!,
  );
  // All that the clients send comes to the second one from the other side.
  t.ok(Math.min(...answersBy) > connected.length / 4, `packets of answers: ${answersBy.join(' and ')}`);
  await expectMoved(t, text, [0, 1]);
});

t.test('without ECMP the first gateway that is up takes all', async t => {
  const alone = `${text}ecmp: false\n`;
  writeConfig(topology, alone);
  t.equal((await daemon.reload()).msg, 'reloaded');
  await untilEgress([0]);
  await sessionsUp(daemon, 4);
  await expectMoved(t, alone, [0]);
});

t.test('of static gateways those lead that answer on their link', async t => {
  for (const family of FAMILIES) {
    const via = ['via', EXTERNAL.loadBalancer[family], 'dev', EXTERNAL.name];
    for (const pair of [A, B])
      await ip(
        '-n',
        topology.gateways[1]!,
        `-${family}`,
        'route',
        'add',
        pair[family],
        ...via,
        'metric',
        '7',
      );
  }
  const fixed = bgpConfig({
    gateways: [],
    otherGateways: [...GATEWAYS, NEVER].map(
      (pair, which) => `  - {name: fixed-${which}, protocol: static, ips: [${pair[4]}, "${pair[6]}"]}`,
    ),
  });
  writeConfig(topology, fixed);
  t.equal((await daemon.reload()).msg, 'reloaded');
  await untilEgress([0, 1]);
  const reasons = (which: number) =>
    [...FAMILIES].map(family => silent([...GATEWAYS, NEVER][which]![family]));
  await untilReasons(2, reasons(2), 'a gateway that never was there');
  await sessionsUp(daemon, 4);
  t.match((await daemon.status()).gateways[0]!.sessions, [{ up: true }, { up: true }]);

  const dead = Date.now();
  await cut(0);
  for (const family of FAMILIES) await address(0, family, 'del');
  await untilEgress([1]);
  t.comment(`both default routes left it ${Date.now() - dead} ms after it died`);
  const { result, connections, answers } = await connectingDuring(topology, clients, batch, () =>
    untilReasons(0, reasons(0), 'the status to name it'),
  );
  t.strictSame(answered(answers), predict(fixed, connections), 'all go by the other');
  t.ok(
    result.every(({ since }) => Date.parse(since!) >= dead),
    'down since it died',
  );
  const logged = daemon.log().find(({ msg, gateway }) => msg === 'gateway is down' && gateway === 'fixed-0');
  t.match(logged, { level: 'warn', reason: /^no answer from/ });

  const back = Date.now();
  for (const family of FAMILIES) await address(0, family, 'add');
  await mend(0);
  await untilEgress([0, 1]);
  t.comment(`back ${Date.now() - back} ms after it was mended`);
  const connected = batch();
  t.strictSame(answered(await clients.connect(connected)), predict(fixed, connected));

  writeConfig(
    topology,
    fixed.replace(
      /interfaces: .*/,
      'interfaces: {external: eth-typo, internal: ["conduit-a-*", "conduit-z-*"]}',
    ),
  );
  t.equal((await daemon.reload()).msg, 'reloaded');
  const noExternal = 'interfaces.external: interface eth-typo does not exist';
  const noInternal = 'interfaces.internal: no interface matches conduit-z-*';
  const missing = async () =>
    (await daemon.status()).warnings.filter(warning => warning.startsWith('interfaces.'));
  t.strictSame(await missing(), [noExternal, noInternal]);
  await untilReasons(0, Array(2).fill('interface eth-typo does not exist'), 'gateways without an interface');
  await ip('-n', topology.loadBalancer, 'link', 'add', 'conduit-z-1', 'type', 'veth', 'peer', 'name', 'zz');
  await waitFor('the pattern to match', BOUND_MS, async () => (await missing()).join() === noExternal);
  await ip('-n', topology.loadBalancer, 'link', 'del', 'conduit-z-1');
  await waitFor('it to match nothing', BOUND_MS, async () => (await missing()).length === 2);
  t.ok(daemon.log().some(({ level, msg }) => level === 'warn' && msg === noExternal));

  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});

/** Addresses of the external network without an owner. */
const NEVER: Pair = { 4: '169.254.100.199', 6: '100:100::199' };

const silent = (address: string) => `no answer from ${address} on ${EXTERNAL.name}`;

/** Until both addresses of a gateway are down for these reasons. */
function untilReasons(which: number, reasons: readonly string[], what: string) {
  return waitFor(`${what}: ${reasons}`, BOUND_MS, async () => {
    const { sessions } = (await daemon.status()).gateways[which]!;
    const found = sessions.map(({ up, info }) => (up ? 'up' : info));
    return found.join() === reasons.join() && sessions;
  });
}

/** Take a gateway's external address away, or give it back. */
async function address(which: number, family: (typeof FAMILIES)[number], verb: 'add' | 'del'): Promise<void> {
  const text = `${GATEWAYS[which]![family]}/${EXTERNAL.prefix[family]}`;
  const nodad = verb === 'add' && family === 6 ? ['nodad'] : [];
  await ip('-n', topology.gateways[which]!, 'address', verb, text, 'dev', EXTERNAL.name, ...nodad);
}
