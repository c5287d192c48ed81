/** What the gateway's BIRD is told of VIPs, and when. Times are printed, each with what begins and ends it. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { egress } from '../../scripts/lab/gateway.js';
import { CONDUITS, EXTERNAL, FAMILIES, TARGETS } from '../../scripts/lab/plan.js';
import { leeway, waitFor } from '../../scripts/lab/wait.js';
import { A, B, BOUND_MS, bgpConfig, hosts, sessionsUp } from './bgp.js';
import { BgpLab } from './bgp-lab.js';
import { kernelState, startDaemon, writeConfig } from './lab.js';

t.setTimeout(600_000);
/** Those that serve the first pair of VIPs. */
const FIRST_TARGETS = TARGETS.filter(({ conduit }) => conduit === 0);
/** Ways to lose them: links of the switch that go down, and when the kernel of the load balancer told of it. */
const LOSSES = [
  { claim: 'its link has no carrier', ports: ['lb0'], verify: false, toldAt: carrierLoss },
  { claim: 'its targets do not answer', ports: ['t69', 't62'], verify: true, toldAt: lastLoss },
] as const;

const lab = await BgpLab.create();
t.teardown(() => lab.topology.destroy());

t.test('a VIP that the gateway knows is served from the first moment on', async t => {
  const text = bgpConfig();
  const began = Date.now();
  const daemon = startDaemon(lab.topology, text);
  // The gateway's table is looked at from before the start.
  for (const pair of [A, B]) {
    for (const family of FAMILIES) {
      await lab.untilKnown(pair, [family]);
      await lab.expectServed(t, text, [pair[family]], 'answered as soon as it is known');
    }
  }
  await daemon.ready();
  const first = Math.min(
    ...(await Promise.all(hosts(A, B).map(vip => lab.after(began, 'got', vip.split('/')[0]!)))),
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
      (await egress(lab.topology))[family].trim().replace(' pref medium', ''),
      way,
      `IPv${family}: table 4096`,
    );
  }
  t.ok((await daemon.status()).vips.every(vip => vip.announced));

  t.test('without a target that can be reached it is withdrawn within 1 s, and others stay', async t => {
    for (const { claim, ports, verify, toldAt } of LOSSES) {
      const cut = Date.now();
      for (const name of ports) await lab.ip('-n', lab.topology.switch, 'link', 'set', name, 'down');
      // Nobody else would send to them just now.
      if (verify) for (const ip of FIRST_TARGETS.flatMap(({ ips }) => [ips[4], ips[6]])) await probe(ip);
      const both = Math.max(
        ...(await Promise.all(FAMILIES.map(family => lab.after(cut, 'lost', A[family])))),
      );
      const took = Math.round(cut + both - (await toldAt(cut)));
      t.comment(
        `${claim}: both families withdrawn ${took} ms after the kernel's event, ${both} ms after the cut`,
      );
      t.ok(took < 1000 * (await leeway()), `${claim}: within 1 s of an idle machine`);
      const still = await lab.gateway.routes(B);
      t.ok(
        FAMILIES.every(family => still[family] !== ''),
        'the other VIPs stay',
      );
      await lab.expectServed(t, text, Object.values(B), 'served meanwhile');
      t.strictSame(
        (await daemon.status()).vips.map(vip => vip.announced),
        [false, false, true, true],
        'and so says the status',
      );
      const mended = Date.now();
      for (const name of ports) await lab.ip('-n', lab.topology.switch, 'link', 'set', name, 'up');
      const again = await Promise.all(FAMILIES.map(family => lab.after(mended, 'got', A[family])));
      t.comment(`${claim}: announced again ${again.join(' and ')} ms after it was mended`);
      await waitFor('every target to serve again', BOUND_MS, async () =>
        (await daemon.status()).targets.every(target => target.pending === null),
      );
      await lab.expectServed(t, text, Object.values(A), 'served again');
    }
  });

  t.test('IPv4 and IPv6 are judged apart', async t => {
    // The gateway's sessions are numbered in their order: IPv4 first.
    const cut = Date.now();
    await lab.gateway.bird.ask('disable', 'lb1');
    await lab.after(cut, 'lost', A[6]);
    await waitFor(
      'the IPv6 default route to go',
      BOUND_MS,
      async () => (await egress(lab.topology))[6] === '',
    );
    t.match((await egress(lab.topology))[4], /^default via/, 'IPv4 has its default route');
    t.not((await lab.gateway.routes(A))[4], '', 'and its VIPs');
    await lab.expectServed(t, text, [A[4], B[4]], 'served meanwhile');
    const up = [...(await sessionsUp(daemon, 1)).keys()];
    t.strictSame(up, [EXTERNAL.gateway[4]]);
    t.ok(
      lab.here.events().filter(({ at, text }) => at >= cut && /^Deleted default via 169/.test(text))
        .length === 0,
    );
    await lab.gateway.bird.ask('enable', 'lb1');
    await sessionsUp(daemon, 2);
    await lab.untilKnown(A);
    await lab.expectServed(t, text, [A[6]], 'served again');
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
      const established = await establishedAt(lab);
      writeConfig(lab.topology, changed);
      const line = await daemon.reload();
      t.equal(line.msg, 'reloaded', `${claim}: ${JSON.stringify(line.faults ?? '')}`);
      if (claim === 'BFD comes') {
        // The gateway is down until BFD is up: its routes need both. The session of BGP stays.
        await sessionsUp(daemon, 2);
        for (const [name, at] of await establishedAt(lab))
          t.ok(Math.abs(at - established.get(name)!) < 100, `${claim}: ${name} stays`);
        continue;
      }
      if (claim === 'BFD goes') {
        // The gateway's BFD takes the silence for a failure and ends its session: BIRD says no good-bye (RFC 5882, 4.2).
        await waitFor('BFD of the gateway to notice', BOUND_MS, async () => {
          const now = await sessionsUp(daemon, 2);
          return [...before].every(([address, { since }]) => now.get(address)?.since !== since);
        });
        await lab.untilKnown(B);
        before = await sessionsUp(daemon, 2);
        continue;
      }
      const now = await sessionsUp(daemon, 2);
      for (const [address, { since }] of before)
        t.equal(now.get(address)?.since, since, `${claim}: ${address} stays`);
    }
    await lab.untilKnown(B);
    await lab.expectServed(t, text, [...Object.values(A), ...Object.values(B)], 'served afterwards');
  });

  t.test('a password that cannot be read refuses a reload, and nothing changes', async t => {
    const before = await sessionsUp(daemon, 2);
    const state = await kernelState(lab.topology);
    const passwordFile = join(lab.topology.directory, 'password');
    const changed = bgpConfig({ vips: [A], gatewayMore: `, passwordFile: ${passwordFile}` }).replace(
      /^ {2}- \{name: b-tcp.*$/m,
      '',
    );
    writeConfig(lab.topology, changed);
    const line = await daemon.reload();
    t.equal(line.msg, 'reload refused');
    t.match(line.faults, [/password/]);
    t.strictSame(await sessionsUp(daemon, 2), before, 'the sessions are as before');
    t.equal(await kernelState(lab.topology), state, 'and so is the kernel');
    const known = await lab.gateway.routes(B);
    t.ok(
      FAMILIES.every(family => known[family] !== ''),
      'and the VIPs',
    );

    writeFileSync(passwordFile, 'not-a-secret\n', { mode: 0o600 });
    chmodSync(passwordFile, 0o600);
    await lab.gateway.bird.reconfigure(lab.gateway.plan({ password: 'not-a-secret' }));
    t.equal((await daemon.reload()).msg, 'reloaded', 'with the file there it is taken');
    await sessionsUp(daemon, 2);
    await lab.untilKnown(A);
    await lab.expectServed(t, changed, Object.values(A), 'sessions with a password serve');
    rmSync(passwordFile);
    for (const [state, what] of [
      ['down', 'lost'],
      ['up', 'got'],
    ] as const) {
      const since = Date.now();
      await lab.ip('-n', lab.topology.switch, 'link', 'set', 'lb0', state);
      await Promise.all(FAMILIES.map(family => lab.after(since, what, A[family])));
    }
    t.pass('VIPs go and come also when its file is gone');
    await lab.gateway.bird.reconfigure(lab.gateway.plan());
    writeConfig(lab.topology, text);
    t.equal((await daemon.reload()).msg, 'reloaded');
    await sessionsUp(daemon, 2);
    await lab.untilKnown(B);
  });

  t.test('a stop leaves nothing', async t => {
    t.equal((await daemon.stop()).code, 0);
    t.equal(await kernelState(lab.topology), lab.pristine);
  });
});

/** Have the kernel ask whether a neighbour is still there. */
async function probe(address: string): Promise<void> {
  const { name } = CONDUITS[0]!;
  await lab.ip('-n', lab.topology.loadBalancer, 'neigh', 'change', address, 'dev', name, 'nud', 'probe');
}

/** When the kernel told that the first conduit's link has no carrier. */
async function carrierLoss(since: number): Promise<number> {
  const matches = new RegExp(`${CONDUITS[0]!.name}.*(NO-CARRIER|state DOWN)`);
  return (await lab.here.first('the loss of the carrier', matches, BOUND_MS, since)).at;
}

/** When the last of the first conduit's targets was lost: each goes with the first of its neighbour entries that fails. */
async function lastLoss(since: number): Promise<number> {
  const losses = FIRST_TARGETS.map(async ({ ips }) => {
    const matches = new RegExp(`^(${ips[4]}|${ips[6]}) .* FAILED$`);
    return (await lab.here.first('the loss of a target', matches, BOUND_MS, since)).at;
  });
  return Math.max(...(await Promise.all(losses)));
}

/** When the sessions of BGP came up as the gateway's BIRD lists them, to the millisecond or two, by protocol. */
async function establishedAt({ gateway }: BgpLab): Promise<Map<string, number>> {
  const listed = await gateway.bird.ask('show', 'protocols');
  const found = listed.matchAll(/^(lb\d+) +BGP +\S+ +up +(\S+ \S+) +Established/gm);
  return new Map([...found].map(([, name, at]) => [name!, Date.parse(at!.replace(' ', 'T'))]));
}
