/** What withdraws VIPs: a BIRD that is killed, a daemon that is killed, a stop. Times are printed. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { type LabDaemon, MAGMARK } from '../../scripts/lab/daemon.js';
import { clientAddress, EXTERNAL, FAMILIES } from '../../scripts/lab/plan.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { A, B, BOUND_MS, bgpConfig, hosts, sessionsUp } from './bgp.js';
import { BgpLab } from './bgp-lab.js';
import { answered, connectionsTo, kernelState, predict, startDaemon } from './lab.js';
import { connectingDuring } from './steady.js';

t.setTimeout(600_000);
const lab = await BgpLab.create();
t.teardown(() => lab.topology.destroy());
const text = bgpConfig();

/** A daemon whose VIPs the gateway knows. */
async function announcing(config = text): Promise<LabDaemon> {
  const daemon = startDaemon(lab.topology, config);
  await daemon.ready();
  await sessionsUp(daemon, 2);
  await lab.untilKnown(A);
  await lab.untilKnown(B);
  return daemon;
}

const daemon = await announcing();
t.comment(`carrier ${(await daemon.status()).carrier}`);

t.test('BIRD that is killed is started again; what it routed goes on meanwhile', async t => {
  // A way that does not depend on BGP shows what the dataplane does.
  for (const family of FAMILIES) {
    const way = ['via', EXTERNAL.loadBalancer[family], 'dev', EXTERNAL.name, 'metric', '2000'];
    await lab.ip('-n', lab.topology.gateway, `-${family}`, 'route', 'add', A[family], ...way);
  }
  const { pid } = (await daemon.status()).bird;
  const before = await lab.clients.connect(connectionsTo(4, [A[4]], 40, 30_000), true);
  t.ok(answered(before).every(identifier => identifier !== null));
  const batch = () => FAMILIES.flatMap(family => connectionsTo(family, [A[family]], 8, lab.ports(8)));
  const { result, connections, answers, retransmitted } = await connectingDuring(
    lab.topology,
    lab.clients,
    batch,
    async () => {
      const killed = Date.now();
      process.kill(pid!, 'SIGKILL');
      const lost = await lab.after(killed, 'lost', A[4]);
      await waitFor('the next BIRD', BOUND_MS, async () => (await daemon.status()).bird.restarts > 0);
      await sessionsUp(daemon, 2);
      await lab.untilKnown(A);
      return { lost, back: Date.now() - killed };
    },
  );
  t.comment(
    `withdrawn ${result.lost} ms after the kill, sessions and VIPs back after ${result.back} ms; ` +
      `${connections.length} connections began meanwhile, ${retransmitted} of their segments were sent again`,
  );
  t.strictSame(answered(answers), predict(text, connections), 'no new connection failed meanwhile');
  t.ok((await lab.clients.echo('still there')).every(Boolean), 'established connections live on');
  await lab.clients.close();
  const { bird } = await daemon.status();
  t.match(bird, { status: 'running', restarts: 1, lastError: /SIGKILL/ });
  t.not(bird.pid, pid);
  t.ok(
    daemon.log().some(line => line.msg === 'BIRD failed; it is started again'),
    'it is logged',
  );
  for (const family of FAMILIES) {
    await lab.ip('-n', lab.topology.gateway, `-${family}`, 'route', 'del', A[family], 'metric', '2000');
  }
});

t.test('BIRD that hangs keeps nothing from being mended, and is ended', async t => {
  const { pid, restarts } = (await daemon.status()).bird;
  const { count } = (await daemon.status()).repairs;
  process.kill(pid!, 'SIGSTOP');
  const stopped = Date.now();
  await lab.ip('-n', lab.topology.loadBalancer, 'rule', 'del', 'priority', '99');
  await waitFor('the rule to be mended', BOUND_MS, async () => (await daemon.status()).repairs.count > count);
  t.comment(`mended after ${Date.now() - stopped} ms`);
  await waitFor('the next BIRD', BOUND_MS, async () => (await daemon.status()).bird.restarts > restarts);
  t.comment(`another BIRD after ${Date.now() - stopped} ms`);
  await waitFor('the hung one to be gone', BOUND_MS, () => !isRunning(pid!));
  await sessionsUp(daemon, 2);
  await lab.untilKnown(A);
  await lab.untilKnown(B);
});

t.test('a VIP that the kernel delivers to this host is withdrawn, named, and announced again', async t => {
  const rows = [
    [A[4], `address add ${A[4]}/32 dev lo`, `address del ${A[4]}/32 dev lo`, 'is an address of lo'],
    [A[6], `address add ${A[6]}/128 dev lo`, `address del ${A[6]}/128 dev lo`, 'is an address of lo'],
    [
      A[4],
      'route add local 20.0.0.0/8 dev lo',
      'route del local 20.0.0.0/8 dev lo',
      'local 20.0.0.0/8 dev lo',
    ],
    [A[4], `route add unreachable ${A[4]} table local`, `route del unreachable ${A[4]} table local`, A[4]],
    [A[6], `route add blackhole ${A[6]} table local`, `route del blackhole ${A[6]} table local`, A[6]],
  ] as const;
  const magmark = (...words: string[]) =>
    lab.topology.processes.command(daemon.housing.ask(['node', MAGMARK, ...words]));
  const inside = (line: string) => lab.ip('-n', lab.topology.loadBalancer, ...line.split(' '));
  for (const [vip, add, remove, reason] of rows) {
    const prefix = `${vip}/${vip.includes(':') ? 128 : 32}`;
    const own = async () => (await daemon.status()).vips.find(each => each.prefix === prefix)!;
    const since = Date.now();
    await inside(add);
    t.comment(`${add}: withdrawn after ${await lab.after(since, 'lost', vip)} ms`);
    const { warnings } = await daemon.status();
    t.match(
      warnings.find(line => line.startsWith(`VIP ${prefix} receives no traffic and is withdrawn`)),
      new RegExp(`${reason}.*: remove `),
    );
    t.match(await own(), { announced: false, lost: new RegExp(reason) });
    const packet = `tcp ${clientAddress(vip.includes(':') ? 6 : 4, 0)}:1234 > ${vip}:4000`;
    t.match((await magmark('explain', packet)).stdout, new RegExp(`(itself|dropped): .*${reason}`));
    const back = Date.now();
    await inside(remove);
    await lab.after(back, 'got', vip);
    await waitFor('no warning', BOUND_MS, async () => (await daemon.status()).warnings.length === 0);
    t.match(await own(), { announced: true, lost: null });
  }
  // Whatever the look finds besides: of two VIPs one alone is lost.
  await inside(`address add ${A[4]}/32 dev lo`);
  await waitFor('a condition of readiness', BOUND_MS, async () =>
    (await magmark('health', '--ready')).stdout.includes(`${A[4]} is an address of lo`),
  );
  await lab.expectServed(t, text, Object.values(B), 'the others are served');
  await inside(`address del ${A[4]}/32 dev lo`);
  await lab.untilKnown(A);
  await lab.expectServed(t, text, Object.values(A), 'served again');
});

t.test('a daemon that is killed takes BIRD with it', async t => {
  const { pid } = (await daemon.status()).bird;
  const killed = Date.now();
  daemon.signal('SIGKILL');
  await daemon.ended();
  const lost = await Promise.all(hosts(A, B).map(vip => lab.after(killed, 'lost', vip.split('/')[0]!)));
  t.comment(`a dead queue is announced for ${Math.max(...lost)} ms after the kill`);
  t.ok(Math.max(...lost) < 1000 * (await leeway()), 'withdrawn within 1 s of an idle machine');
  await waitFor('BIRD to be gone', BOUND_MS, () => !isRunning(pid!));
  const second = await announcing();
  await lab.expectServed(t, text, [...Object.values(A), ...Object.values(B)], 'the next daemon serves');
  t.equal((await second.stop()).code, 0);
  t.equal(await kernelState(lab.topology), lab.pristine);
});

t.test('a stop withdraws, and forwards for shutdownDelay; a second signal ends the wait', async t => {
  for (const [claim, delayMs, signals] of [
    ['shutdownDelay 3s', 3000, 1],
    ['shutdownDelay 60s and a second SIGTERM', 60_000, 2],
  ] as const) {
    const text = bgpConfig({ more: `shutdownDelay: ${delayMs / 1000}s\n` });
    const daemon = await announcing(text);
    const asked = Date.now();
    daemon.signal('SIGTERM');
    const lost = Math.max(
      ...(await Promise.all(FAMILIES.map(family => lab.after(asked, 'lost', A[family])))),
    );
    // A router that has not yet heard goes on sending.
    await lab.ip('-n', lab.topology.gateway, 'route', 'add', A[4], 'via', EXTERNAL.loadBalancer[4]);
    await lab.expectServed(t, text, [A[4]], `${claim}: served after the withdrawal`);
    if (signals === 2) daemon.signal('SIGTERM');
    const rule = await lab.here.first('the first rule to go', /^Deleted \d+:.* fwmark /, BOUND_MS, asked);
    const forwarded = Math.round(rule.at - asked);
    t.comment(`${claim}: withdrawn after ${lost} ms, forwarded for ${forwarded - lost} ms more`);
    // The daemon counts from its own withdrawal, which the gateway hears of later.
    t.ok(signals === 2 ? forwarded - lost < 10_000 : forwarded >= delayMs, claim);
    await daemon.ended();
    await lab.ip('-n', lab.topology.gateway, 'route', 'del', A[4], 'via', EXTERNAL.loadBalancer[4]);
    t.equal(await kernelState(lab.topology), lab.pristine);
  }
});

function isRunning(pid: number): boolean {
  try {
    // A process that has ended and is not yet waited for is a zombie.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code!)) return false;
    throw error;
  }
}
