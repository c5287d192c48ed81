/** The daemon, its BIRD, and the gateway's: what is announced when. Times are printed, each with what begins and ends it. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LabGateway } from '../../scripts/lab/gateway.js';
import { KernelWatch } from '../../scripts/lab/kernel-watch.js';
import { EXTERNAL, FAMILIES, type Pair, TARGETS } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { Clients, startTargets } from '../../scripts/lab/traffic.js';
import { slowness, waitFor } from '../../scripts/lab/wait.js';
import { A, B, BOUND_MS, bgpConfig, egress, hosts, sessionsUp } from './bgp.js';
import { answered, connectionsTo, kernelState, predict, startDaemon, writeConfig } from './lab.js';

t.setTimeout(600_000);
const topology = Topology.reserve({ vips: hosts(A, B), staticRoutes: false });
t.teardown(() => topology.destroy());
try {
  await topology.create();
  await startTargets(topology);
} catch (error) {
  await topology.destroy();
  throw error;
}
const clients = new Clients(topology);
const gateway = new LabGateway(topology);
await gateway.start();
const pristine = await kernelState(topology);
const [here, there] = await Promise.all([
  KernelWatch.start(topology, topology.loadBalancer, 'link', 'neigh', 'route', 'rule'),
  KernelWatch.start(topology, topology.gateway, 'route'),
]);
let port = 20_000;

const ip = (...words: string[]) => topology.processes.command(['ip', ...words]);

/** Eight connections to each VIP, answered as the core predicts. */
async function expectServed(t: Test, text: string, vips: readonly string[], claim: string): Promise<void> {
  for (const vip of vips) {
    const connections = connectionsTo(vip.includes(':') ? 6 : 4, [vip], 8, port);
    port += 8;
    t.strictSame(
      answered(await clients.connect(connections)),
      predict(text, connections),
      `${vip}: ${claim}`,
    );
  }
}

function untilKnown(pair: Pair, families = FAMILIES): Promise<Pair> {
  return waitFor(`${pair[4]} and ${pair[6]} in the gateway's table`, BOUND_MS, async () => {
    const found = await gateway.routes(pair);
    return families.every(family => found[family] !== '') && found;
  });
}

/** When the gateway's kernel lost, or got, the route to a VIP, ms after `since`. */
async function after(since: number, what: 'lost' | 'got', vip: string): Promise<number> {
  const matches = new RegExp(`^${what === 'lost' ? 'Deleted ' : ''}${vip.replaceAll('.', '\\.')} `);
  const event = await there.first(`the gateway to have ${what} ${vip}`, matches, BOUND_MS, since);
  return Math.round(event.at - since);
}

t.test('a VIP that the gateway knows is served from the first moment on', async t => {
  const text = bgpConfig();
  const began = Date.now();
  const daemon = startDaemon(topology, text);
  // The gateway's table is looked at from before the start.
  for (const pair of [A, B]) {
    for (const family of FAMILIES) {
      await untilKnown(pair, [family]);
      await expectServed(t, text, [pair[family]], 'answered as soon as it is known');
    }
  }
  await daemon.ready();
  const first = Math.min(
    ...(await Promise.all(hosts(A, B).map(vip => after(began, 'got', vip.split('/')[0]!)))),
  );
  t.comment(`from the start of the process to the first VIP in the gateway's kernel: ${first} ms`);
  const sessions = await sessionsUp(daemon, 2);
  t.ok(
    [...sessions.values()].every(({ bfd }) => bfd === 'up'),
    'BFD is up',
  );
  for (const family of FAMILIES) {
    const way = `default via ${EXTERNAL.gateway[family]} dev ${EXTERNAL.name} proto bird metric 32`;
    t.equal(
      (await egress(topology))[family].trim().replace(' pref medium', ''),
      way,
      `IPv${family}: table 4096`,
    );
  }
  t.ok((await daemon.status()).vips.every(vip => vip.announced));

  t.test('without a target that can be reached it is withdrawn within 1 s, and others stay', async t => {
    for (const [claim, ports] of [
      ['its link has no carrier', ['lb0']],
      ['its targets do not answer', ['t69', 't62']],
    ] as const) {
      // Whoever lost its targets is told by the kernel: of links at once, of neighbours when it has asked in vain.
      const cut = Date.now();
      for (const name of ports) await ip('-n', topology.switch, 'link', 'set', name, 'down');
      if (claim.includes('targets')) {
        for (const family of FAMILIES) {
          await ip('-n', topology.loadBalancer, `-${family}`, 'neigh', 'flush', 'dev', 'conduit-a--d7c4');
        }
      }
      const matches = ports.length === 1 ? /conduit-a--d7c4.*(NO-CARRIER|state DOWN)/ : / FAILED/;
      const told = await here.first('the kernel to tell', matches, BOUND_MS, cut);
      const both = Math.max(...(await Promise.all(FAMILIES.map(family => after(cut, 'lost', A[family])))));
      const lastAt = ports.length === 1 ? told.at : lastLoss(cut);
      const took = cut + both - lastAt;
      t.comment(
        `${claim}: both families withdrawn ${took} ms after the kernel's event, ${both} ms after the cut`,
      );
      t.ok(took < 1000 * (await slowness()), `${claim}: within 1 s of an idle machine`);
      const still = await gateway.routes(B);
      t.ok(
        FAMILIES.every(family => still[family] !== ''),
        'the other VIPs stay',
      );
      await expectServed(t, text, Object.values(B), 'served meanwhile');
      t.strictSame(
        (await daemon.status()).vips.map(vip => vip.announced),
        [false, false, true, true],
        'and so says the status',
      );
      const mended = Date.now();
      for (const name of ports) await ip('-n', topology.switch, 'link', 'set', name, 'up');
      const again = await Promise.all(FAMILIES.map(family => after(mended, 'got', A[family])));
      t.comment(`${claim}: announced again ${again.join(' and ')} ms after it was mended`);
      await waitFor('every target to serve again', BOUND_MS, async () =>
        (await daemon.status()).targets.every(target => target.pending === null),
      );
      await expectServed(t, text, Object.values(A), 'served again');
    }
  });

  t.test('IPv4 and IPv6 are judged apart', async t => {
    // The gateway's sessions are numbered in their order: IPv4 first.
    const cut = Date.now();
    await gateway.bird.ask('disable', 'lb1');
    await after(cut, 'lost', A[6]);
    await waitFor('the IPv6 default route to go', BOUND_MS, async () => (await egress(topology))[6] === '');
    t.match((await egress(topology))[4], /^default via/, 'IPv4 has its default route');
    t.not((await gateway.routes(A))[4], '', 'and its VIPs');
    await expectServed(t, text, [A[4], B[4]], 'served meanwhile');
    const up = [...(await sessionsUp(daemon, 1)).keys()];
    t.strictSame(up, [EXTERNAL.gateway[4]]);
    t.ok(
      here.events().filter(({ at, text }) => at >= cut && /^Deleted default via 169/.test(text)).length === 0,
    );
    await gateway.bird.ask('enable', 'lb1');
    await sessionsUp(daemon, 2);
    await untilKnown(A);
    await expectServed(t, text, [A[6]], 'served again');
  });

  t.test('BIRD that is killed is started again; what it routed goes on meanwhile', async t => {
    // A way that does not depend on BGP shows what the dataplane does.
    for (const family of FAMILIES) {
      const way = ['via', EXTERNAL.loadBalancer[family], 'dev', EXTERNAL.name, 'metric', '2000'];
      await ip('-n', topology.gateway, `-${family}`, 'route', 'add', A[family], ...way);
    }
    const { pid } = (await daemon.status()).bird;
    const before = await clients.connect(connectionsTo(4, [A[4]], 40, 30_000), true);
    t.ok(answered(before).every(identifier => identifier !== null));
    const killed = Date.now();
    process.kill(pid!, 'SIGKILL');
    const results = [];
    do {
      for (const family of FAMILIES) {
        results.push(...(await clients.connect(connectionsTo(family, [A[family]], 8, port))));
        port += 8;
      }
    } while ((await daemon.status()).bird.restarts === 0);
    await sessionsUp(daemon, 2);
    await untilKnown(A);
    const back = Date.now() - killed;
    results.push(...(await clients.connect(connectionsTo(4, [A[4]], 8, port))));
    port += 8;
    const failed = answered(results).filter(identifier => identifier === null).length;
    const lost = await after(killed, 'lost', A[4]);
    t.comment(`withdrawn ${lost} ms after the kill, sessions and VIPs back after ${back} ms`);
    t.equal(failed, 0, `none of ${results.length} new connections failed meanwhile`);
    t.ok((await clients.echo('still there')).every(Boolean), 'established connections live on');
    await clients.close();
    const { bird } = await daemon.status();
    t.match(bird, { status: 'running', restarts: 1, lastError: /SIGKILL/ });
    t.not(bird.pid, pid);
    t.ok(
      daemon.log().some(line => line.msg === 'BIRD failed; it is started again'),
      'it is logged',
    );
    for (const family of FAMILIES) {
      await ip('-n', topology.gateway, `-${family}`, 'route', 'del', A[family], 'metric', '2000');
    }
  });

  t.test('a reload drops no session that stays', async t => {
    let before = await sessionsUp(daemon, 2);
    const changes = [
      ['VIPs go', bgpConfig({ vips: [A] }).replace(/^ {2}- \{name: b-tcp.*$/m, '')],
      ['VIPs come', text],
      ['a gateway comes', bgpConfig({ gateways: [0, 1] })],
      ['a gateway goes', text],
      ['BFD changes', bgpConfig({ bfd: '{minRx: 200ms, minTx: 200ms, multiplier: 5}' })],
      ['BFD is as before', text],
      ['BFD goes', bgpConfig({ bfd: null })],
      ['BFD comes', text],
    ] as const;
    for (const [claim, changed] of changes) {
      writeConfig(topology, changed);
      const line = await daemon.reload();
      t.equal(line.msg, 'reloaded', `${claim}: ${JSON.stringify(line.faults ?? '')}`);
      if (claim === 'BFD goes') {
        // The gateway's BFD takes the silence for a failure and ends its session: BIRD says no good-bye (RFC 5882, 4.2).
        await waitFor('BFD of the gateway to notice', BOUND_MS, async () => {
          const now = await sessionsUp(daemon, 2);
          return [...before].every(([address, { since }]) => now.get(address)?.since !== since);
        });
        await untilKnown(B);
        before = await sessionsUp(daemon, 2);
        continue;
      }
      const now = await sessionsUp(daemon, 2);
      for (const [address, { since }] of before)
        t.equal(now.get(address)?.since, since, `${claim}: ${address} stays`);
    }
    await untilKnown(B);
    await expectServed(t, text, [...Object.values(A), ...Object.values(B)], 'served afterwards');
  });

  t.test('a password that cannot be read refuses a reload, and nothing changes', async t => {
    const before = await sessionsUp(daemon, 2);
    const state = await kernelState(topology);
    const passwordFile = join(topology.directory, 'password');
    const changed = bgpConfig({ vips: [A], gatewayMore: `, passwordFile: ${passwordFile}` }).replace(
      /^ {2}- \{name: b-tcp.*$/m,
      '',
    );
    writeConfig(topology, changed);
    const line = await daemon.reload();
    t.equal(line.msg, 'reload refused');
    t.match(line.faults, [/password/]);
    t.strictSame(await sessionsUp(daemon, 2), before, 'the sessions are as before');
    t.equal(await kernelState(topology), state, 'and so is the kernel');
    const known = await gateway.routes(B);
    t.ok(
      FAMILIES.every(family => known[family] !== ''),
      'and the VIPs',
    );

    writeFileSync(passwordFile, 'not-a-secret\n', { mode: 0o600 });
    chmodSync(passwordFile, 0o600);
    await gateway.bird.reconfigure(gateway.plan({ password: 'not-a-secret' }));
    t.equal((await daemon.reload()).msg, 'reloaded', 'with the file there it is taken');
    await sessionsUp(daemon, 2);
    await untilKnown(A);
    await expectServed(t, changed, Object.values(A), 'sessions with a password serve');
    rmSync(passwordFile);
    for (const [state, what] of [
      ['down', 'lost'],
      ['up', 'got'],
    ] as const) {
      const since = Date.now();
      await ip('-n', topology.switch, 'link', 'set', 'lb0', state);
      await Promise.all(FAMILIES.map(family => after(since, what, A[family])));
    }
    t.pass('VIPs go and come also when its file is gone');
    await gateway.bird.reconfigure(gateway.plan());
    writeConfig(topology, text);
    t.equal((await daemon.reload()).msg, 'reloaded');
    await sessionsUp(daemon, 2);
    await untilKnown(B);
  });

  t.test('a daemon that is killed takes BIRD with it', async t => {
    const { pid } = (await daemon.status()).bird;
    const killed = Date.now();
    daemon.signal('SIGKILL');
    await daemon.ended();
    const lost = await Promise.all(hosts(A, B).map(vip => after(killed, 'lost', vip.split('/')[0]!)));
    t.comment(`a dead queue is announced for ${Math.max(...lost)} ms after the kill`);
    t.ok(Math.max(...lost) < 1000 * (await slowness()), 'withdrawn within 1 s of an idle machine');
    await waitFor('BIRD to be gone', BOUND_MS, () => !isRunning(pid!));
    const second = startDaemon(topology, text);
    await second.ready();
    await sessionsUp(second, 2);
    await untilKnown(A);
    await untilKnown(B);
    await expectServed(t, text, [...Object.values(A), ...Object.values(B)], 'the next daemon serves');
    t.equal((await second.stop()).code, 0);
    t.equal(await kernelState(topology), pristine);
  });
});

t.test('a stop withdraws, and forwards for shutdownDelay; a second signal ends the wait', async t => {
  for (const [claim, delayMs, signals] of [
    ['shutdownDelay 3s', 3000, 1],
    ['shutdownDelay 60s and a second SIGTERM', 60_000, 2],
  ] as const) {
    const text = bgpConfig({ more: `shutdownDelay: ${delayMs / 1000}s\n` });
    const daemon = startDaemon(topology, text);
    await daemon.ready();
    await sessionsUp(daemon, 2);
    await untilKnown(A);
    const asked = Date.now();
    daemon.signal('SIGTERM');
    const lost = Math.max(...(await Promise.all(FAMILIES.map(family => after(asked, 'lost', A[family])))));
    // A router that has not yet heard goes on sending.
    await ip('-n', topology.gateway, 'route', 'add', A[4], 'via', EXTERNAL.loadBalancer[4]);
    await expectServed(t, text, [A[4]], `${claim}: served after the withdrawal`);
    if (signals === 2) daemon.signal('SIGTERM');
    const rule = await here.first('the first rule to go', /^Deleted \d+:.* fwmark /, BOUND_MS, asked);
    const forwarded = Math.round(rule.at - asked - lost);
    t.comment(`${claim}: withdrawn after ${lost} ms, forwarded for ${forwarded} ms more`);
    t.ok(signals === 2 ? forwarded < 10_000 : forwarded >= delayMs, claim);
    await daemon.ended();
    await ip('-n', topology.gateway, 'route', 'del', A[4], 'via', EXTERNAL.loadBalancer[4]);
    t.equal(await kernelState(topology), pristine);
  }
});

/** When the last of the first conduit's targets was lost: each goes with the first of its neighbour entries that fails. */
function lastLoss(since: number): number {
  const failures = here.events().filter(({ at, text }) => at >= since && text.endsWith(' FAILED'));
  const losses = TARGETS.filter(({ conduit }) => conduit === 0).map(({ ips }) => {
    const own = failures.filter(({ text }) => FAMILIES.some(family => text.startsWith(`${ips[family]} `)));
    return Math.min(...own.map(({ at }) => at));
  });
  return Math.max(...losses);
}

function isRunning(pid: number): boolean {
  try {
    // A process that has ended and is not yet waited for is a zombie.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code!)) return false;
    throw error;
  }
}
