/** A new process takes over from a running one while packets come, and none is lost. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { socketPath } from '../../host/control/socket.js';
import { LabDaemon, NFQLB } from '../../scripts/lab/daemon.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { A, B } from './bgp.js';
import {
  answered,
  connectionsTo,
  inLoadBalancer,
  kernelState,
  predict,
  startDaemon,
  writeConfig,
} from './lab.js';
import { Load } from './load.js';
import { connectingDuring } from './steady.js';
import { ONE, OTHER, TakeoverLab } from './takeover-lab.js';

const PER_SECOND = 4000;

t.setTimeout(300_000);
const lab = await TakeoverLab.create();
t.teardown(() => lab.topology.destroy());
const { clients } = lab.bgp;
let running = await lab.serving(ONE);
t.comment(`carrier ${(await running.status()).carrier}`);

const WENT_ON = 'the takeover came to nothing: going on';
const numbers = async (daemon: LabDaemon) => (await daemon.status()).queues.map(({ queue }) => queue);

/** The new daemon is in charge, the old one has left. */
async function takesOver(text: string): Promise<LabDaemon> {
  const former = running;
  running = lab.takeOver(text);
  await running.ready();
  await former.ended();
  return former;
}

t.test('twice, and then with other targets and flows, no packet is lost and no session ends', async t => {
  const began = Date.now();
  const before = await running.status();
  t.strictSame(await numbers(running), [0, 1]);
  const kept = await clients.connect(connectionsTo(4, [A[4]], 40, 10_000), true);
  t.ok(answered(kept).every(identifier => identifier !== null));
  for (const [claim, text, queues] of [
    ['to other numbers', ONE, [2, 3]],
    ['back', ONE, [0, 1]],
    ['with another configuration', OTHER, [2, 3]],
  ] as const) {
    const load = await Load.start(lab.topology, [A, B], PER_SECOND);
    const steady = await connectingDuring(
      lab.topology,
      clients,
      () => lab.batch(),
      () => takesOver(text),
    );
    const figures = await load.stop();
    const { connections, answers, retransmitted, result: former } = steady;
    t.comment(
      `${claim}: ${figures.sent} datagrams at ${figures.perSecond}/s, ${figures.lost} lost; ` +
        `${connections.length} connections with ${figures.tcp.sent} packets and ${figures.tcp.answers} answers, ` +
        `${figures.tcp.lost} lost, ${retransmitted} sent again for being late; ` +
        `ms: ${JSON.stringify((await running.ready()).milliseconds)}`,
    );
    t.equal(figures.lost, 0, `${claim}: every datagram arrives`);
    t.equal(figures.tcp.lost, 0, `${claim}: so does every packet of TCP, both ways`);
    if (text === ONE) {
      t.strictSame(answered(answers), predict(text, connections), `${claim}: answered as predicted`);
      t.ok((await clients.echo(claim)).every(Boolean), `${claim}: established connections live on`);
    } else {
      t.notOk(answered(answers).includes(null), `${claim}: all are answered`);
    }
    t.equal((await former.stop()).code, 0, 'the former one ends with 0');
    t.strictSame(await numbers(running), queues, `${claim}: numbers of the queues`);
    const status = await running.status();
    t.ok(
      status.queues.every(({ dropped }) => dropped === 0),
      'no queue has dropped any',
    );
    lab.expectAnnounced(t, began, before, status);
  }
  await clients.close();
  await lab.bgp.expectServed(t, OTHER, [A[4], A[6], B[4], B[6]], 'the other configuration is in force');
  const marks = await inLoadBalancer(lab.topology, 'ip', 'rule');
  t.notMatch(marks, /lookup 5069\n/, 'what the former one alone wanted is gone');
});

t.test('what a daemon knows of its targets by health checks is handed over', async t => {
  const checked = (text: string) =>
    text.replaceAll(
      /- name: ([ab])\n/g,
      '- name: $1\n    healthCheck: {type: icmp, interval: 60s, rise: 5}\n',
    );
  await takesOver(ONE);
  writeConfig(lab.topology, checked(ONE));
  await running.reload();
  const healthy = async () => (await running.status()).targets.every(({ health }) => health === 'healthy');
  await waitFor('all targets to be found healthy', 10_000, healthy);
  await takesOver(checked(ONE));
  t.ok(await healthy(), 'at once');
  await takesOver(ONE);
});

t.test('a faulty configuration leaves the running one as it is', async t => {
  const state = await kernelState(lab.topology);
  const log = join(lab.topology.directory, 'faulty.log');
  const file = `${log}.yaml`;
  writeFileSync(file, ONE.replace('stream: b,', 'stream: c,'));
  const faulty = new LabDaemon(lab.topology, file, log, lab.topology.loadBalancer, ['--takeover']);
  await faulty.ended();
  t.match(faulty.log().at(-1), { msg: 'cannot start', code: 'CONFIG_INVALID' });
  t.equal((await faulty.stop()).code, 1);
  t.equal(await kernelState(lab.topology), state);
  t.notOk(
    running.log().some(({ msg }) => msg === WENT_ON),
    'it was not even asked',
  );
  t.equal((await running.reload()).msg, 'reloaded', 'and goes on');
});

t.test('numbers that are not free are a clear error, and the running one goes on', async t => {
  t.strictSame(await numbers(running), [0, 1]);
  // nfqlb's dataplane holds the next ones; no rule leads there.
  const where = [
    ...Topology.inside(lab.topology.loadBalancer),
    'env',
    `MAGMARK_SOCKET=${lab.topology.directory}/f`,
  ];
  const log = join(lab.topology.directory, 'flowlb.log');
  const holder = lab.topology.processes.start([...where, 'node', NFQLB, 'flowlb', '--queue=3:4'], log);
  const bound = () => inLoadBalancer(lab.topology, 'cat', '/proc/net/netfilter/nfnetlink_queue');
  await waitFor('the numbers to be held', 10_000, async () => /^ +4 /m.test(await bound()));
  const refused = lab.takeOver(ONE);
  await refused.ended();
  t.match(refused.log().at(-1), {
    msg: 'cannot start',
    code: 'CLASH',
    faults: [
      /no free queue numbers beside 0:1, which are in use: .*; bound in this namespace are 0, 1, 3, 4$/,
    ],
  });
  await waitFor('the running one to go on', 10_000, () => running.log().some(({ msg }) => msg === WENT_ON));
  holder.kill('SIGTERM');
  await waitFor('the numbers to be free', 10_000, async () => !/^ +4 /m.test(await bound()));
  await lab.bgp.expectServed(t, ONE, [A[4], B[6]], 'served');
});

t.test(
  'a second takeover, a second start and another version are refused; a stop leaves nothing',
  async t => {
    const second = startDaemon(lab.topology, ONE);
    await second.ended();
    t.match(second.log().at(-1), {
      code: 'CLASH',
      faults: [/another magmark runs in this network namespace/],
    });
    const inode = (await inLoadBalancer(lab.topology, 'stat', '-Lc', '%i', '/proc/self/ns/net')).trim();
    const path = socketPath().replace(/[0-9]+/, inode);
    const curl = [
      'curl',
      '-sS',
      '--unix-socket',
      path,
      '-d',
      '{"protocol":2,"version":"9.9.9","pid":1}',
      'http://m/v1/handover',
    ];
    t.match(JSON.parse(await inLoadBalancer(lab.topology, ...curl)), {
      error: /magmark 9\.9\.9 cannot take over from magmark .*: they speak versions 2 and 1 of the handover/,
    });
    t.equal((await running.stop()).code, 0);
    t.equal(await kernelState(lab.topology), lab.bgp.pristine);
    const alone = lab.takeOver(ONE);
    await alone.ended();
    t.match(alone.log().at(-1), {
      code: 'CONTROL_FAILED',
      faults: [/--takeover: there is nobody to take over from: /],
    });
    t.equal((await alone.stop()).code, 1);
  },
);
