/**
 * Path MTU discovery without port NAT, through two load balancers behind one gateway: transfers that never fragment, over
 * links that are narrower than what their two ends agreed upon.
 */
import t, { type Test } from 'tap';
import type { Family } from '../../host/types/config.js';
import { LabDaemon } from '../../scripts/lab/daemon.js';
import {
  ACCESS,
  CLIENTS,
  EXTERNAL,
  FAMILIES,
  type LabTarget,
  LOAD_BALANCERS,
  TARGETS,
  TCP_PORT,
  UDP_PORT,
  VIP,
} from '../../scripts/lab/plan.js';
import type { Connection } from '../../scripts/lab/syn.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { TCP } from '../fixture/packet.js';
import { wirePacket, withChecksums } from '../fixture/wire.js';
import { configFile, connectionsTo, predict, TARGET_LINES, writeConfig } from './lab.js';
import { PacketCount } from './packet-count.js';
import { type Bottleneck, CONDUIT_MTU, LINK_MTU, PATHS_TOPOLOGY, Paths, TCP_HEADERS } from './paths.js';
import { sendRawFromTarget } from './raw.js';
import { exchangeDatagrams, serveTransfers, type Transfer, transfer } from './transfer.js';

const VIPS = `[20.0.0.1/32, "2000::1/128"]`;
const CONFIG = `
queues: "0:1"
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${VIPS}
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
streams:
  - name: a
    targets:
${TARGET_LINES}
flows:
  - {name: all, stream: a, priority: 1, protocols: [tcp, udp], vips: ${VIPS}, destinationPortRanges: ["${TCP_PORT}", "${UDP_PORT}"]}
`;

const NARROW_MTU = 1300;
const NARROW_TARGETS = TARGETS.filter(({ conduit }) => conduit === 0);
/** So many that all of them come to one load balancer once in half a million runs. */
const TRANSFERS = 20;
const BYTES = 300_000;
/** Of each segment's payload, for timestamps (RFC 7323). */
const OPTIONS = 12;
const SOON_MS = 60_000;

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const topology = Topology.reserve(PATHS_TOPOLOGY);
t.teardown(() => topology.destroy());
const paths = new Paths(topology);

const SYN = `tcp dport ${TCP_PORT} tcp flags & (syn | ack) == syn`;
/** Errors of path MTU discovery, as nft matches them. */
const tooBig = { 4: 'icmp code frag-needed icmp mtu', 6: 'icmpv6 type packet-too-big icmpv6 mtu' } as const;

/** Of what comes to the clients from outside: a host that cuts segments too big for what it has learned tells itself. */
const countAtClients = () =>
  PacketCount.start(topology, topology.clients, {
    fromVip4: `iifname ${ACCESS.name} ip saddr ${VIP[4]} ${tooBig[4]} ${CONDUIT_MTU}`,
    fromVip6: `iifname ${ACCESS.name} ip6 saddr ${VIP[6]} ${tooBig[6]} ${CONDUIT_MTU}`,
    errors4: `iifname ${ACCESS.name} icmp type != { echo-request, echo-reply }`,
    errors6: `iifname ${ACCESS.name} icmpv6 type < 128`,
  });

const countAtLoadBalancers = () =>
  Promise.all(
    topology.loadBalancers.map(namespace =>
      PacketCount.start(topology, namespace, {
        connections: `iifname ${EXTERNAL.name} ${SYN}`,
        errors4: `iifname ${EXTERNAL.name} ip daddr ${VIP[4]} ${tooBig[4]} ${NARROW_MTU}`,
        errors6: `iifname ${EXTERNAL.name} ip6 daddr ${VIP[6]} ${tooBig[6]} ${NARROW_MTU}`,
      }),
    ),
  );

const countAtTargets = () =>
  Promise.all(
    NARROW_TARGETS.map(({ identifier }) =>
      PacketCount.start(topology, topology.target(identifier), {
        connections: SYN,
        redirects4: 'icmp type redirect',
        redirects6: 'icmpv6 type nd-redirect',
      }),
    ),
  );

let daemons: LabDaemon[];
let atClients: Awaited<ReturnType<typeof countAtClients>>;
let atLoadBalancers: Awaited<ReturnType<typeof countAtLoadBalancers>>;
let atTargets: Awaited<ReturnType<typeof countAtTargets>>;
try {
  await topology.create();
  await paths.open();
  await serveTransfers(topology);
  writeConfig(topology, CONFIG);
  const file = configFile(topology);
  daemons = topology.loadBalancers.map(
    name => new LabDaemon(topology, file, `${topology.directory}/${name}.log`, name),
  );
  await Promise.all(daemons.map(daemon => daemon.ready()));
  atClients = await countAtClients();
  atLoadBalancers = await countAtLoadBalancers();
  atTargets = await countAtTargets();
} catch (error) {
  await topology.destroy();
  throw error;
}

let nextPort = 20_000;

/** Connections to targets behind the narrow conduit, and the identifiers that the core names. */
function toNarrowTargets(family: Family, count: number, destinationPort = TCP_PORT) {
  const all = connectionsTo(family, [VIP[family]], CLIENTS, nextPort, destinationPort);
  nextPort += CLIENTS;
  return ownedBy(NARROW_TARGETS, all, count);
}

/** The first `count` of `connections` that the core gives to `targets`. */
function ownedBy(targets: readonly LabTarget[], connections: readonly Connection[], count: number) {
  const owners = predict(CONFIG, connections);
  const owned = connections
    .map((connection, index) => ({ connection, owner: owners[index]! }))
    .filter(({ owner }) => targets.some(({ identifier }) => identifier === owner))
    .slice(0, count);
  if (owned.length < count) throw new Error(`${owned.length} of ${connections.length} are theirs`);
  return { connections: owned.map(each => each.connection), owners: owned.map(each => each.owner) };
}

const since = (before: readonly number[], after: readonly number[]): number[] =>
  after.map((count, index) => count - before[index]!);

/** Each arrived whole at whom the core names, and its sender had to learn that segments it began with are too big. */
function checkTransfers(
  t: Test,
  family: Family,
  results: readonly (Transfer | { readonly error: string })[],
  owners: readonly (number | null)[],
  [before, after]: readonly [number, number],
): void {
  const found = results.map(each => {
    if ('error' in each) return each;
    const { identifier, intact, before, after } = each;
    return {
      identifier,
      intact,
      mss: before.mss,
      announced: before.announced,
      pmtu: [before.pmtu, after.pmtu],
    };
  });
  const wanted = owners.map(identifier => ({
    identifier,
    intact: true,
    mss: before - TCP_HEADERS[family] - OPTIONS,
    announced: LINK_MTU - TCP_HEADERS[family] - OPTIONS,
    pmtu: [before, after],
  }));
  t.strictSame(found, wanted, `IPv${family}: every byte of ${owners.length} transfers, over ${after} bytes`);
}

t.test('a client learns of the narrow link of a target, by an error that bears the VIP', async t => {
  for (const family of FAMILIES) {
    await paths.forget();
    const before = await paths.tooBig('load balancers', family);
    const { connections, owners } = toNarrowTargets(family, TRANSFERS);
    const results = await transfer(topology, 'upload', connections, BYTES);
    checkTransfers(t, family, results, owners, [LINK_MTU, CONDUIT_MTU]);
    const made = since(before, await paths.tooBig('load balancers', family)).reduce(
      (sum, each) => sum + each,
    );
    const count = await atClients.read();
    t.ok(made > 0, `IPv${family}: ${made} packets too big came to the load balancers`);
    t.equal(count[`fromVip${family}`], made, 'as many errors came from the VIP, with the MTU of the conduit');
    t.equal(count[`errors${family}`], made, 'and no others');
  }
});

const BOTTLENECKS: readonly { readonly where: Bottleneck; readonly name: string }[] = [
  { where: 'load balancers', name: "the load balancer's own link" },
  { where: 'gateway', name: 'a link of the gateway' },
  { where: 'beyond', name: 'a link beyond the gateway' },
];

for (const { where, name } of BOTTLENECKS) {
  t.test(`a target learns of a narrow way to its client: ${name}`, async t => {
    await paths.forget();
    await paths.narrow(where, NARROW_MTU);
    const isOutside = where !== 'load balancers';
    for (const family of FAMILIES) {
      // Errors from outside take the way of every packet to a VIP, which needs no route in main.
      if (isOutside) await paths.setDefaultRoute('delete', family);
      const counts = () =>
        Promise.all([
          paths.tooBig(where, family),
          ...(['connections', `errors${family}`] as const).map(async what =>
            (await Promise.all(atLoadBalancers.map(count => count.read()))).map(count => count[what]),
          ),
        ]);
      const before = await counts();
      const { connections, owners } = toNarrowTargets(family, TRANSFERS);
      const results = await transfer(topology, 'download', connections, BYTES);
      checkTransfers(t, family, results, owners, [CONDUIT_MTU, NARROW_MTU]);
      const [met, opened, errors] = (await counts()).map((after, index) => since(before[index]!, after)) as [
        number[],
        number[],
        number[],
      ];
      t.ok(
        met.every(count => count > 0),
        `IPv${family}: ${met.join(' and ')} packets too big came there`,
      );
      t.ok(
        opened.every(count => count > 0),
        `connections: ${opened.join(' and ')} by the load balancers`,
      );
      const by = errors.filter(count => count > 0).length;
      if (isOutside) t.ok(by > 0, `errors: ${errors.join(' and ')}`);
      else t.equal(by, 0, 'no error came from outside');
      // The gateway spreads errors by their own addresses alone, which are one pair.
      if (where === 'beyond') t.equal(by, 1, "one load balancer got the other's errors too");
      if (isOutside) await paths.setDefaultRoute('add', family);
    }
    await paths.widen();
  });
}

t.test('without a route to the VIP in main a load balancer cannot tell a target, and says so', async t => {
  const warned = async () =>
    (await Promise.all(daemons.map(daemon => daemon.status()))).map(each => each.warnings);
  const words = (family: Family) => `main has no route to VIP ${VIP[family]}: `;
  const has = (warnings: readonly string[], family: Family) =>
    warnings.some(warning => warning.startsWith(words(family)));
  await paths.forget();
  await paths.narrow('load balancers', NARROW_MTU);
  for (const family of FAMILIES) await paths.setDefaultRoute('delete', family);
  await waitFor('both VIPs to be named', SOON_MS, async () =>
    (await warned()).every(warnings => FAMILIES.every(family => has(warnings, family))),
  );
  for (const family of FAMILIES) {
    const before = await paths.tooBig('load balancers', family);
    const { connections, owners } = toNarrowTargets(family, 1);
    let ended = false;
    const downloading = transfer(topology, 'download', connections, BYTES).finally(() => {
      ended = true;
    });
    await waitFor('the target to try again and again', SOON_MS, async () => {
      const met = since(before, await paths.tooBig('load balancers', family));
      return met.some(count => count >= 4);
    });
    t.notOk(ended, `IPv${family}: a download hangs`);
    await paths.setDefaultRoute('add', family);
    checkTransfers(t, family, await downloading, owners, [CONDUIT_MTU, NARROW_MTU]);
    await waitFor('the warning to go', SOON_MS, async () =>
      (await warned()).every(warnings => !has(warnings, family)),
    );
  }
  await paths.widen();
});

t.test(
  'UDP with DF: the error of a datagram too big is that of the next call, in both directions',
  async t => {
    // IPv6 on Linux keeps what a datagram learned with one of several ways back, and the next may take another.
    await paths.forget(LOAD_BALANCERS.slice(0, 1));
    await paths.narrow('gateway', NARROW_MTU);
    // All of them fit their sender's own link.
    const sizes = { request: 1440, answer: 1320, fits: 1200 };
    const wanted = {
      requests: ['EMSGSIZE', 'EMSGSIZE', sizes.fits],
      pmtu: CONDUIT_MTU,
      answers: ['EMSGSIZE', sizes.fits],
    };
    for (const family of FAMILIES) {
      const { connections } = toNarrowTargets(family, 8, UDP_PORT);
      const results = await exchangeDatagrams(topology, connections, sizes);
      t.strictSame(
        results,
        connections.map(() => wanted),
        `IPv${family}`,
      );
    }
    await paths.widen();
  },
);

t.test('a target that asks a VIP is not told to pass the load balancer by', async t => {
  const [asking, serving] = NARROW_TARGETS as [LabTarget, LabTarget];
  const served = atTargets[1]!;
  for (const family of FAMILIES) {
    const from = connectionsTo(family, [VIP[family]], CLIENTS, nextPort);
    const { connections } = ownedBy(
      [serving],
      from.map(connection => ({ ...connection, source: asking.ips[family] })),
      5,
    );
    const before = (await served.read()).connections;
    const packets = connections.map(({ source, sourcePort, destination }) => {
      const packet = wirePacket(TCP, source, sourcePort, destination, TCP_PORT, []);
      packet[packet.length - 7] = 0x02;
      return withChecksums(packet, TCP);
    });
    await sendRawFromTarget(topology, asking, packets);
    await waitFor('them to come to another target', SOON_MS, async () => {
      return (await served.read()).connections - before === packets.length;
    });
    for (const count of atTargets) t.equal((await count.read())[`redirects${family}`], 0, `IPv${family}`);
  }
});

t.test('load balancers end on request', async t => {
  const ends = await Promise.all(daemons.map(daemon => daemon.stop()));
  t.strictSame(
    ends.map(({ code }) => code),
    [0, 0],
  );
});
