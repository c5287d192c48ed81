/** A daemon that is killed at any step of any change leaves nothing that the next start does not put right. */
import { join } from 'node:path';
import t from 'tap';
import type { LabDaemon } from '../../scripts/lab/daemon.js';
import { Topology } from '../../scripts/lab/topology.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { Killer, type Step, stepsOf } from './killer.js';
import { comparableState, startDaemon, writeConfig } from './lab.js';

/** What is promised, on an idle machine. */
const CONVERGED_MS = 1000;

const vips = (list: readonly string[]) => `[${list.map(vip => `"${vip}"`).join(', ')}]`;

function configText(targets: string, addresses: readonly string[], natPort: number, stream: string): string {
  return `
queues: 0
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: ${vips(addresses)}
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}
portNats:
  - {port: ${natPort}, targetPort: 4000, protocol: tcp, vips: ${vips(addresses)}}
streams:
  - {name: a, targets: [${targets}]}
  - {name: ${stream}, maxTargets: 80, targets: [{identifier: 3, ips: [172.16.1.8, "fd00:0:0:1::8"]}]}
flows:
  - {name: f, stream: a, priority: 1, protocols: [tcp], vips: ${vips(addresses)}}
  - {name: g, stream: ${stream}, priority: 1, protocols: [udp], vips: ${vips(addresses)}}
`;
}

const SIXTY_NINE = '{identifier: 69, ips: [172.16.0.6, "fd00::6"]}';
const SIXTY_TWO = '{identifier: 62, ips: [172.16.0.8, "fd00::8"]}';
const FORTY_FOUR = '{identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}';

/** Two configurations of which each has targets, VIPs, a stream and a port NAT that the other has not. */
const ONE = configText(`${SIXTY_NINE}, ${SIXTY_TWO}`, ['20.0.0.1/32', '2000::1/128', '20.0.1.0/24'], 80, 'b');
const OTHER = configText(
  `${SIXTY_NINE.replace('172.16.0.6', '172.16.0.8')}, ${FORTY_FOUR}`,
  ['20.0.0.1/32', '2000::1/128', '2000::2/128'],
  81,
  'c',
).replace('maxTargets: 80', 'maxTargets: 90');

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(900_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
await topology.create();
const killer = new Killer(join(topology.directory, 'programs'));

const start = (text: string): LabDaemon =>
  startDaemon(topology, text, [], topology.loadBalancer, killer.environment);

const state = () => comparableState(topology);
const pristine = await state();

/** From the start of a daemon until the kernel was seen to be as wanted, in ms. */
const times: number[] = [];

/** A daemon that runs when the kernel is as `wanted`. */
async function converges(text: string, wanted: string): Promise<LabDaemon> {
  const from = performance.now();
  const daemon = start(text);
  await daemon.ready();
  // BIRD fills its table after the daemon is ready.
  await waitFor(
    'the kernel to hold what an undisturbed run made',
    10_000,
    async () => (await state()) === wanted,
  ).catch(async () => t.equal(await state(), wanted));
  times.push(performance.now() - from);
  return daemon;
}

/** The daemon is killed at `step` of what it does now, or had fewer steps: then it is killed behind them. */
async function dies(daemon: LabDaemon, whenDone: () => boolean): Promise<void> {
  await waitFor('the daemon to be killed', 30_000, () => daemon.hasEnded() || whenDone());
  if (!daemon.hasEnded()) await daemon.stop('SIGKILL');
  killer.disarm();
}

const said = (daemon: LabDaemon, ...messages: string[]) =>
  daemon.log().some(line => messages.includes(line.msg));

/** The calls of each change when nobody is killed, and what stands after it. */
async function undisturbed(text: string, next: string) {
  killer.count();
  const daemon = start(text);
  await daemon.ready();
  const starting = killer.disarm();
  await waitFor('BIRD to fill its table', 60_000, async () => /table 4096/.test(await state()));
  const standing = await state();
  killer.count();
  writeConfig(topology, next);
  await daemon.reload();
  const reloading = killer.disarm();
  killer.count();
  await daemon.stop();
  const stopping = killer.disarm();
  return { starting, standing, reloading, stopping };
}

const one = await undisturbed(ONE, OTHER);
const other = await undisturbed(OTHER, ONE);
t.equal(await state(), pristine, 'nothing is left of undisturbed runs');
const text = ({ number, moment }: Step, calls: readonly string[]) =>
  `${moment} ${number}: ${calls[number - 1]}`;

t.test('killed while it starts', async t => {
  for (const step of stepsOf(one.starting)) {
    killer.arm(step);
    const killed = start(ONE);
    await dies(killed, () => said(killed, 'ready'));
    const daemon = await converges(ONE, one.standing);
    t.equal(await state(), one.standing, text(step, one.starting));
    await daemon.stop();
    t.equal(await state(), pristine, 'and a stop leaves nothing');
  }
});

t.test('killed while it reloads, to and fro', async t => {
  let daemon = await converges(ONE, one.standing);
  const ways = [
    { config: OTHER, wanted: other.standing, calls: one.reloading },
    { config: ONE, wanted: one.standing, calls: other.reloading },
  ];
  const count = Math.max(...ways.map(({ calls }) => stepsOf(calls).length));
  for (let index = 0; index < count; index++) {
    // Two restarts a step take too long for every run: npm run test:kill takes each step both ways.
    const taken = process.env.MAGMARK_KILL_BOTH_WAYS === undefined ? [ways[index % 2]!] : ways;
    for (const { config, wanted, calls } of taken) {
      const step = stepsOf(calls)[Math.min(index, stepsOf(calls).length - 1)]!;
      const killed = daemon;
      killer.arm(step);
      writeConfig(topology, config);
      killed.signal('SIGHUP');
      await dies(killed, () => said(killed, 'reloaded', 'reload refused'));
      daemon = await converges(config, wanted);
      t.equal(await state(), wanted, text(step, calls));
    }
  }
  await daemon.stop();
  t.equal(await state(), pristine);
});

t.test('killed while it stops', async t => {
  for (const step of stepsOf(one.stopping)) {
    const killed = await converges(ONE, one.standing);
    killer.arm(step);
    killed.signal('SIGTERM');
    await dies(killed, () => false);
    const daemon = await converges(ONE, one.standing);
    t.equal(await state(), one.standing, text(step, one.stopping));
    await daemon.stop();
    t.equal(await state(), pristine);
  }
});

t.test('each start converged in time', async t => {
  const sorted = [...times].sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1]!;
  const worst = sorted.at(-1)!;
  const limit = CONVERGED_MS * (await leeway());
  t.comment(
    `${times.length} starts: median ${median.toFixed(0)} ms, worst ${worst.toFixed(0)} ms, limit ${limit.toFixed(0)} ms`,
  );
  t.ok(worst < limit, `${worst.toFixed(0)} ms of ${limit.toFixed(0)}`);
});
