/** Rules of targets that are a list while they are few and a tree beyond: from one to the other under traffic, killed and mended. */
import { join } from 'node:path';
import t from 'tap';
import type { ExplainReply } from '../../host/control/api.js';
import { type LabDaemon, MAGMARK } from '../../scripts/lab/daemon.js';
import { TARGETS, TCP_PORT } from '../../scripts/lab/plan.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { A, B } from './bgp.js';
import { Killer, type Step } from './killer.js';
import { answered, comparableState, inLoadBalancer, predict, writeConfig } from './lab.js';
import { Load } from './load.js';
import { connectingDuring } from './steady.js';
import { ONE, TakeoverLab } from './takeover-lab.js';

const RELOADS = 4;
const PER_SECOND = 2000;

/** Streams that no flow leads to: their targets have rules and routes, and no traffic. */
const more = Array.from({ length: 24 }, (_, index) => {
  const targets = TARGETS.slice(0, 3).map(
    ({ ips }, at) => `      - {identifier: ${at + 1}, ips: ["${ips[4]}", "${ips[6]}"]}\n`,
  );
  return `  - name: more-${index}\n    maxTargets: 3\n    targets:\n${targets.join('')}`;
}).join('');
const MANY = ONE.replace('flows:\n', `${more}flows:\n`);

t.setTimeout(600_000);
const lab = await TakeoverLab.create();
const { topology } = lab;
t.teardown(() => topology.destroy());
const killer = new Killer(join(topology.directory, 'programs'));
const inside = (script: string) => inLoadBalancer(topology, 'sh', '-ec', script);
const state = () => comparableState(topology);
const isTree = (text: string) => text.includes('999999:\tfrom all unreachable');

async function reload(daemon: LabDaemon, text: string): Promise<void> {
  writeConfig(topology, text);
  const { msg } = await daemon.reload();
  if (msg !== 'reloaded') throw new Error(daemon.logTail(3));
}

/** @returns calls that changed the kernel */
async function counted(work: () => Promise<void>): Promise<string[]> {
  killer.count();
  await work();
  return killer.disarm();
}

const pristine = await state();
let daemon = lab.start(ONE, [], killer.environment);
await daemon.ready();
await lab.announced(daemon);
const list = await state();
const growing = await counted(() => reload(daemon, MANY));
const tree = await state();
const shrinking = await counted(() => reload(daemon, ONE));

t.test('the list becomes a tree and is a list again', async t => {
  t.notOk(isTree(list));
  t.ok(isTree(tree));
  t.notMatch(tree, /unresolved/);
  t.equal(await state(), list);
});

t.test(`${RELOADS} times from one to the other, no packet is lost or goes elsewhere`, async t => {
  const load = await Load.start(topology, [A, B], PER_SECOND);
  const { connections, answers, retransmitted } = await connectingDuring(
    topology,
    lab.bgp.clients,
    () => lab.batch(),
    async () => {
      for (let number = 0; number < RELOADS; number++) await reload(daemon, number % 2 === 0 ? MANY : ONE);
    },
  );
  const { sent, lost, tcp } = await load.stop();
  t.comment(
    `${sent} datagrams, ${connections.length} connections, ${retransmitted} segments sent again for being late`,
  );
  t.equal(lost, 0, 'datagrams');
  t.equal(tcp.lost, 0, 'segments');
  t.strictSame(answered(answers), predict(ONE, connections));
});

t.test('what others delete of the tree is mended, and diff and explain are true', async t => {
  await reload(daemon, MANY);
  await waitFor('the tree to stand', 60_000, async () => (await state()) === tree);
  const magmark = (...words: string[]) => inLoadBalancer(topology, 'node', MAGMARK, ...words);
  const [, entry, place] = /^N:\t(from all fwmark \S+) goto (\d+)$/m.exec(tree)!;
  const mendings = () => daemon.log().filter(line => line.msg === 'mended what others changed').length;
  for (const [claim, script] of [
    ['an entry', `ip rule del priority 1 ${entry!.replace('from all ', '')}`],
    ['the first rule of a block', `ip -6 rule del priority ${place}`],
    ['a block', `while ip rule del priority ${place}; do :; done`],
    ['the end of a block', `ip rule del priority ${Number(place) + 1}`],
    ['what keeps others out', 'ip rule del priority 999999'],
    [
      'all of it',
      'ip rule flush; ip rule add priority 32766 lookup main; ip rule add priority 32767 lookup default',
    ],
  ] as const) {
    const before = mendings();
    await inside(script);
    await waitFor(
      `${claim} to be mended`,
      20_000,
      async () => mendings() > before && (await state()) === tree,
    );
    t.equal(await state(), tree, claim);
  }
  t.equal(await magmark('diff'), 'nothing differs\n');
  const packet = `tcp 192.0.2.1:40000 > ${A[4]}:${TCP_PORT}`;
  const reply = JSON.parse(await magmark('explain', '--json', packet)) as ExplainReply;
  const chosen = TARGETS.find(({ identifier }) => identifier === reply.identifier);
  t.match(reply.route, { table: reply.fwmark, via: chosen?.ips[4], error: null });
});

t.test('rules of another hand are left, told, and take no packet of ours from the tree', async t => {
  const [, mark] = /^N:\tfrom all fwmark (0x\w+) lookup (?!main)/m.exec(tree)!;
  const told = async (text: RegExp) => (await daemon.status()).warnings.some(line => text.test(line));
  const right = async (claim: string) => {
    const connections = [lab.batch(), lab.batch(), lab.batch()].flat();
    const answers = await lab.bgp.clients.connect(connections);
    t.strictSame(answered(answers), predict(ONE, connections), claim);
  };
  for (const [claim, rule, warning] of [
    ['at the entries', `priority 1 fwmark ${mark} lookup 254`, /rule 1: .*takes marks of ours before/],
    [
      'behind the entries',
      'priority 50 fwmark 0x1000/0xf000 lookup 254',
      /rule 50: .*takes marks of ours before/,
    ],
    ['within the tree', 'priority 1050001 lookup 254', /rule 1050001: .*stands among our rules/],
  ] as const) {
    await inside(`ip rule add ${rule}; ip -6 rule add ${rule}`);
    await waitFor(`the rule ${claim} to be told`, 60_000, () => told(warning));
    await right(claim);
    await inside(`ip rule del ${rule}; ip -6 rule del ${rule}`);
    await waitFor(`the rule ${claim} to be forgotten`, 60_000, async () => !(await told(warning)));
    t.equal(await state(), tree, 'it was left as it was, and so was ours');
  }
  await right('without it');
});

t.test('killed amid each batch on the way, the next start puts it right', async t => {
  for (const { config, former, wanted, calls } of [
    { config: ONE, former: MANY, wanted: list, calls: shrinking },
    { config: MANY, former: ONE, wanted: tree, calls: growing },
  ]) {
    const batches = calls.flatMap((call, index): Step[] =>
      call.includes('-force -batch') ? [{ number: index + 1, moment: 'amid' }] : [],
    );
    t.ok(batches.length >= 4, 'two that add and two that remove');
    // Each restart takes seconds: npm run test:kill takes them all.
    const taken =
      process.env.MAGMARK_KILL_BOTH_WAYS === undefined ? batches.filter((_, at) => at % 3 === 0) : batches;
    for (const step of taken) {
      await reload(daemon, former);
      killer.arm(step);
      writeConfig(topology, config);
      daemon.signal('SIGHUP');
      await waitFor('the daemon to be killed', 30_000, () => daemon.hasEnded());
      killer.disarm();
      daemon = lab.start(config, [], killer.environment);
      await daemon.ready();
      await waitFor('the rules to be as wanted', 60_000, async () => (await state()) === wanted).catch(
        () => null,
      );
      t.equal(await state(), wanted, `amid ${calls[step.number - 1]}`);
    }
  }
  await daemon.stop();
  t.equal(await state(), pristine, 'and nothing is left');
});
