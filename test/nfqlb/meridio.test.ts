/**
 * The calls that Meridio's stateless-lb makes of nfqlb, in its order, and the packets that follow. Rules, routes and
 * steering are somebody else's: here they are the test's.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { NFQLB } from '../../scripts/lab/daemon.js';
import {
  CONDUITS,
  clientAddress,
  EXTERNAL,
  FAMILIES,
  REFERENCE_LOOKUP,
  TARGETS,
  TCP_PORT,
  UDP_PORT,
  VIP,
} from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { mapBounded, waitFor } from '../../scripts/lab/wait.js';
import { answered, connectionsTo, predict, startLab } from '../end-to-end/lab.js';

t.setTimeout(600_000);
const { topology, clients } = await startLab(t);
const log = join(topology.directory, 'flowlb.log');
const inside = [...Topology.inside(topology.loadBalancer), 'env', '-u', 'NODE_OPTIONS'];

async function nfqlb(...args: string[]): Promise<string> {
  return (await topology.processes.command([...inside, 'node', NFQLB, ...args])).stdout;
}

async function inLoadBalancer(line: string): Promise<void> {
  await topology.processes.command([...inside, 'sh', '-ec', line]);
}

/** What Meridio does beside nfqlb: sysctls, the VIPs into the queues, the way out, a rule and a route a target. */
async function steer(): Promise<void> {
  await inLoadBalancer(
    'for name in ipv4/conf/all/forwarding ipv6/conf/all/forwarding ipv4/fwmark_reflect ipv6/fwmark_reflect; do echo 1 >/proc/sys/net/$name; done',
  );
  for (const family of FAMILIES) {
    const tables = family === 4 ? 'iptables-nft' : 'ip6tables-nft';
    const vip = `${VIP[family]}/${family === 4 ? 32 : 128}`;
    const ip = `ip -${family}`;
    await inLoadBalancer(`${tables} -t mangle -A PREROUTING -d ${vip} -j NFQUEUE --queue-balance 0:3`);
    await inLoadBalancer(`${ip} rule add priority 100 from ${vip} table 4096`);
    await inLoadBalancer(`${ip} route add default via ${EXTERNAL.gateway[family]} table 4096`);
    for (const { identifier, conduit, ips } of TARGETS) {
      const mark = 5000 + identifier;
      await inLoadBalancer(`${ip} rule add priority 99 fwmark ${mark} table ${mark}`);
      await inLoadBalancer(
        `${ip} route add default via ${ips[family]} dev ${CONDUITS[conduit]!.name} table ${mark}`,
      );
    }
  }
}

/** The same as a configuration of ours, for the offline core. */
function configText(identifiers: readonly number[], ports = `["${TCP_PORT}"]`): string {
  const targets = TARGETS.filter(({ identifier }) => identifiers.includes(identifier)).map(
    ({ identifier, ips }) => `{identifier: ${identifier}, ips: [${ips[4]}, "${ips[6]}"]}`,
  );
  const vips = `["${VIP[4]}/32", "${VIP[6]}/128"]`;
  return `
vips: ${vips}
hashMode: five-tuple
promiscuousPing: true
streams: [{name: s, targets: [${targets.join(', ')}]}]
flows: [{name: f, stream: s, priority: 1, protocols: [tcp, udp], vips: ${vips}, destinationPortRanges: ${ports}}]
`;
}

let port = 20000;
const COUNT = 80;

/** Connect from every client in both families, and compare with the offline core. */
async function expectPredicted(t: Test, identifiers: readonly number[], claim: string): Promise<void> {
  for (const family of FAMILIES) {
    const connections = connectionsTo(family, [VIP[family]], COUNT, port);
    const predicted = predict(configText(identifiers), connections);
    t.ok(!predicted.includes(null), `IPv${family}: the prediction has a target for each`);
    t.strictSame(answered(await clients.connect(connections)), predicted, `IPv${family}: ${claim}`);
  }
  port += COUNT;
}

async function nobodyAnswers(t: Test, claim: string): Promise<void> {
  for (const family of FAMILIES) {
    const results = await clients.connect(connectionsTo(family, [VIP[family]], 2, port));
    t.ok(
      results.every(result => 'error' in result),
      `IPv${family}: ${claim}`,
    );
  }
  port += COUNT;
}

const FLOW = [
  '--name=tshm-s-f',
  '--target=tshm-s',
  '--prio=1',
  '--protocols=tcp,udp',
  `--dsts=${VIP[4]}/32,${VIP[6]}/128`,
];

t.test("Meridio's sequence, with packets", async t => {
  await steer();
  const options = ['--promiscuous_ping', '--queue=0:3', '--qlength=1024', '--hash_mode=0'];
  const child = topology.processes.start([...inside, 'node', NFQLB, 'flowlb', ...options], log);

  // No wait: Meridio has none.
  t.equal(
    await nfqlb('init', '--ownfw=0', '--shm=tshm-s', '--M=10000', '--N=100'),
    'M adjusted; 10000 -> 9973\n',
  );
  t.equal(await nfqlb('flow-set', ...FLOW, `--dports=${TCP_PORT}`), 'OK\n');
  await waitFor('the queues to be bound', 20_000, () => readFileSync(log, 'utf8').includes('"msg":"ready"'));
  await nobodyAnswers(t, 'without a target nobody answers');

  for (const { identifier } of TARGETS.slice(0, 3))
    t.equal(await nfqlb('activate', `--index=${identifier - 1}`, '--shm=tshm-s', `${5000 + identifier}`), '');
  const three = TARGETS.slice(0, 3).map(({ identifier }) => identifier);
  await expectPredicted(t, three, 'three targets share');

  const last = TARGETS[3]!.identifier;
  await nfqlb('activate', `--index=${last - 1}`, '--shm=tshm-s', `${5000 + last}`);
  const all = [...three, last];
  await expectPredicted(t, all, 'the fourth takes its share');
  const show = await nfqlb('show', '--shm=tshm-s');
  t.equal(
    show,
    [
      'Shm: tshm-s',
      '  Fw: own=0',
      '  Maglev: M=9973, N=100',
      `   Lookup: ${REFERENCE_LOOKUP.join(' ')}...`,
      '   Active: 5044(43) 5062(61) 5069(68) 5073(72)',
      '',
    ].join('\n'),
    'the listing of the reference document',
  );

  await t.test('fwmark tells where a connection went', async t => {
    const connections = connectionsTo(4, [VIP[4]], 6, port);
    port += COUNT;
    const identifiers = answered(await clients.connect(connections));
    const told = await mapBounded(
      connections,
      2,
      async ({ source, sourcePort, destination, destinationPort }) => {
        const ends = [`--src=${source}:${sourcePort}`, `--dst=${destination}:${destinationPort}`];
        const text = await nfqlb('fwmark', '--shm=tshm-s', '--proto=tcp', '--hash_mode=0', ...ends);
        return (JSON.parse(text) as { fwmark: number }).fwmark - 5000;
      },
    );
    t.strictSame(told, identifiers);
  });

  await t.test('pings of both families are answered, since any flow takes them', async t => {
    const pings = FAMILIES.flatMap(family =>
      Array.from({ length: 4 }, (_, index) => ({
        source: clientAddress(family, index),
        destination: VIP[family],
        count: 2,
      })),
    );
    t.strictSame(
      await clients.ping(pings),
      pings.map(() => 2),
    );
  });

  await t.test('trace tells of the packets of a trace flow, and of no others', async t => {
    const traceLog = join(topology.directory, 'trace.log');
    const conditions = ['--protocols=tcp', `--srcs=${clientAddress(4, 3)}/32`, `--dports=${TCP_PORT}`];
    t.equal(await nfqlb('trace-flow-set', '--name=client', ...conditions), 'OK\n');
    const trace = topology.processes.start(
      [...inside, 'node', NFQLB, 'trace', '--selection=flows'],
      traceLog,
    );
    const text = () => readFileSync(traceLog, 'utf8');
    await waitFor('a packet to be told', 20_000, async () => {
      await clients.connect(connectionsTo(4, [VIP[4]], 8, port));
      port += COUNT;
      return text().split('target=').length > 2;
    });
    t.match(text(), /^Mask=0x00000040\n/);
    const told = text()
      .trimEnd()
      .split('\n\n')
      .filter(each => !each.startsWith('Mask='))
      .map(each => each.trim())
      // The last may still be on its way into the file.
      .slice(0, -1);
    const expected = new RegExp(
      `^Match for trace-flow: client\\nproto=tcp, len=\\d+, ::ffff:${clientAddress(4, 3)} \\d+ -> ::ffff:${VIP[4]} ${TCP_PORT}\\ntarget=tshm-s, fwmark=50\\d\\d$`,
    );
    t.strictSame(
      told.filter(each => !expected.test(each)),
      [],
    );
    const [listed] = JSON.parse(await nfqlb('trace-flow-list')) as { matches_count: number }[];
    t.ok(listed!.matches_count > 0, 'and counts them');
    t.equal(await nfqlb('trace-flow-delete', '--name=client'), 'OK\n');
    trace.kill('SIGTERM');
  });

  await t.test('a flow that is set again takes another port, and the matches stay counted', async t => {
    const udp = () => clients.datagrams(connectionsTo(4, [VIP[4]], 4, 30000, UDP_PORT), 100);
    t.ok(
      (await udp()).every(result => !('intact' in result)),
      'not yet',
    );
    t.equal(await nfqlb('flow-set', ...FLOW, `--dports=${TCP_PORT},${UDP_PORT}`), 'OK\n');
    t.ok(
      (await udp()).every(result => 'intact' in result && result.intact),
      'now datagrams are answered',
    );
    const [flow] = JSON.parse(await nfqlb('flow-list')) as { dports: string[]; matches_count: number }[];
    t.strictSame(flow!.dports, [`${TCP_PORT}-${UDP_PORT}`]);
    t.ok(flow!.matches_count > 4 * COUNT, `${flow!.matches_count} matches`);
  });

  await t.test('connections live through a target that goes, save its own', async t => {
    const connections = connectionsTo(4, [VIP[4]], 40, port);
    port += COUNT;
    const before = answered(await clients.connect(connections, true));
    t.equal(await nfqlb('deactivate', `--index=${last - 1}`, '--shm=tshm-s'), '');
    const after = predict(configText(three), connections);
    const echoed = await clients.echo('still there');
    t.strictSame(
      echoed.filter((_, index) => before[index] === after[index]),
      echoed.filter((_, index) => before[index] === after[index]).map(() => true),
      'who kept the target is answered',
    );
    await clients.close();
    await expectPredicted(t, three, 'three are left');
  });

  t.equal(await nfqlb('flow-delete', '--name=tshm-s-f'), 'OK\n');
  await nobodyAnswers(t, 'without a flow nobody answers');
  t.equal(await nfqlb('flow-list'), '[]\n');
  t.equal(await nfqlb('delete', '--shm=tshm-s'), '');
  const gone = await topology.processes.command([...inside, 'node', NFQLB, 'show', '--shm=tshm-s'], {
    mayFail: true,
  });
  t.equal(gone.code, 1);

  // The pid is that of `ip netns exec`, which became env and then node.
  child.kill('SIGTERM');
  await waitFor('flowlb to end', 60_000, () => child.exitCode !== null || child.signalCode !== null);
  t.equal(child.exitCode, 0);
  t.notMatch(readFileSync(log, 'utf8'), /"level":"(error|fatal)"/);
});
