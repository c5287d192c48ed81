/** What a takeover hands over besides packets, and when it is refused: the running one goes on then. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { socketPath } from '../../host/control/socket.js';
import { LabDaemon, NFQLB } from '../../scripts/lab/daemon.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { A, B } from './bgp.js';
import { inLoadBalancer, kernelState, startDaemon, writeConfig } from './lab.js';
import { ONE, queueNumbers, TakeoverLab } from './takeover-lab.js';

t.setTimeout(300_000);
const lab = await TakeoverLab.create();
t.teardown(() => lab.topology.destroy());
let running = await lab.serving(ONE);

const WENT_ON = 'the takeover came to nothing: going on';

t.test('what a daemon knows of its targets by health checks is handed over, and its port', async t => {
  const checked = (text: string) =>
    `${text}metrics: {address: "127.0.0.1:9273"}\n`.replaceAll(
      /- name: ([ab])\n/g,
      '- name: $1\n    healthCheck: {type: icmp, interval: 60s, rise: 5}\n',
    );
  writeConfig(lab.topology, checked(ONE));
  await running.reload();
  const healthy = async () => (await running.status()).targets.every(({ health }) => health === 'healthy');
  await waitFor('all targets to be found healthy', 60_000, healthy);
  running = await lab.succeeding(running, checked(ONE));
  t.ok(await healthy(), 'at once');
  const ready = await inLoadBalancer(lab.topology, 'curl', '-sS', 'http://127.0.0.1:9273/readyz');
  t.match(JSON.parse(ready), { ok: true }, 'and it is ready, at the port that the former one had');
  running = await lab.succeeding(running, ONE);
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
  t.strictSame(await queueNumbers(running), [0, 1]);
  // nfqlb's dataplane holds the next ones; no rule leads there.
  const where = [
    ...Topology.inside(lab.topology.loadBalancer),
    'env',
    `MAGMARK_SOCKET=${lab.topology.directory}/f`,
  ];
  const log = join(lab.topology.directory, 'flowlb.log');
  const holder = lab.topology.processes.start([...where, 'node', NFQLB, 'flowlb', '--queue=3:4'], log);
  const bound = () => inLoadBalancer(lab.topology, 'cat', '/proc/net/netfilter/nfnetlink_queue');
  await waitFor('the numbers to be held', 60_000, async () => /^ +4 /m.test(await bound()));
  const refused = lab.takeOver(ONE);
  await refused.ended();
  t.match(refused.log().at(-1), {
    msg: 'cannot start',
    code: 'CLASH',
    faults: [
      /no free queue numbers beside 0:1, which are in use: .*; bound in this namespace are 0, 1, 3, 4$/,
    ],
  });
  await waitFor('the running one to go on', 60_000, () => running.log().some(({ msg }) => msg === WENT_ON));
  holder.kill('SIGTERM');
  await waitFor('the numbers to be free', 60_000, async () => !/^ +4 /m.test(await bound()));
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
