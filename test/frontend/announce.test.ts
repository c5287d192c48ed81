import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Frontend } from '../../host/frontend/frontend.js';
import type { WantedFrontend } from '../../host/frontend/wanted.js';
import type { RouterPlan } from '../../scripts/lab/bird.js';
import { insideNamespace, shell } from '../kernel/namespace.js';
import {
  allUp,
  bgpGateway,
  directory,
  egressTable,
  endNetwork,
  makeNetwork,
  openFrontend,
  RecordedLog,
  startRouter,
  until,
  VIP4,
  VIP6,
  wantedFrontend,
} from './network.js';

const ROUNDS = 9;

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  t.setTimeout(300_000);
  makeNetwork(1);
  t.teardown(endNetwork);

  t.test('sessions come up, VIPs are announced, and table 4096 reads as in the reference', async t => {
    let changes = 0;
    const { router, frontend, files } = await both(t, {}, {}, () => changes++);
    t.comment(`sessions up after ${await untilUp(frontend)} ms`);
    t.ok(changes > 0, 'changes are told');
    await until('the VIPs are known', async () => (await router.knows(VIP4)) && (await router.knows(VIP6)));
    await until('default routes', () => egressTable(4) !== '' && egressTable(6) !== '');
    t.equal(egressTable(4), 'default via 169.254.100.150 dev ext-vlan0 proto bird metric 32 \n');
    t.equal(egressTable(6), 'default via 100:100::150 dev ext-vlan0 proto bird metric 32 pref medium\n');
    t.equal(shell('ip route show proto bird; ip -6 route show proto bird'), '', 'main has none of them');
    t.equal(statSync(join(files, 'bird.conf')).mode & 0o777, 0o600);
    const { bird } = frontend.state();
    t.match(bird, { status: 'running', restarts: 0, lastError: null });
    await frontend.stop();
    t.strictSame(frontend.state().bird.status, 'off');
    t.notOk(existsSync(files), 'its files are gone');
    t.notOk(existsSync(`/proc/${bird.pid}`));
    t.equal(egressTable(4) + egressTable(6), '');
  });

  t.test('VIPs come and go by themselves, each family apart, and no session notices', async t => {
    const { router, frontend } = await both(t);
    await untilUp(frontend);
    const before = frontend.state();
    const withdrawals: number[] = [];
    const announcements: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const set = (announced: WantedFrontend['announced']) => frontend.set(wantedFrontend({ announced }));
      await until('known', async () => (await router.knows(VIP4)) && (await router.knows(VIP6)));
      let start = performance.now();
      await set([VIP6]);
      await until('withdrawn', async () => !(await router.knows(VIP4)));
      withdrawals.push(performance.now() - start);
      t.ok(await router.knows(VIP6), 'the other family stays');
      start = performance.now();
      await set([VIP4, VIP6]);
      await until('announced', () => router.knows(VIP4));
      announcements.push(performance.now() - start);
    }
    t.comment(`median ms: withdrawal ${median(withdrawals)}, announcement ${median(announcements)}`);
    const wide = [
      { family: 4, address: '20.0.0.0', length: 9 },
      { family: 4, address: '0.0.0.0', length: 0 },
      { family: 6, address: '2000:0:0:8000::', length: 49 },
    ] as const;
    await frontend.set(wantedFrontend({ announced: wide }));
    for (const vip of wide) await until(`${vip.address}/${vip.length} is known`, () => router.knows(vip));
    t.match(egressTable(4), /^default via 169.254.100.150 /, 'a VIP of all addresses is no route of ours');
    await frontend.announce([]);
    for (const vip of wide) await until(`${vip.address} is gone`, async () => !(await router.knows(vip)));
    t.strictSame(frontend.state(), before, 'since, pid and all');
  });

  t.test(
    'while another daemon takes over, nothing is done to BIRD; what was set then comes afterwards',
    async t => {
      const { router, frontend, files } = await both(t);
      await untilUp(frontend);
      await until('known', async () => (await router.knows(VIP4)) && (await router.knows(VIP6)));
      const other = Frontend.open({ directory: files, log: new RecordedLog() });
      await other.join();
      await frontend.pause();
      const text = readFileSync(join(files, 'bird.conf'), 'utf8');
      await frontend.announce([VIP6]);
      t.equal(readFileSync(join(files, 'bird.conf'), 'utf8'), text, 'its file is the business of the other');
      t.ok(await router.knows(VIP4));
      await other.leave();
      await frontend.resume();
      await until('withdrawn', async () => !(await router.knows(VIP4)));
      t.ok(await router.knows(VIP6));
    },
  );

  t.test('what is wanted already changes nothing', async t => {
    const { frontend, log } = await both(t);
    await untilUp(frontend);
    const before = frontend.state();
    const lines = log.lines.length;
    await Promise.all([frontend.set(wantedFrontend()), frontend.set(wantedFrontend())]);
    t.strictSame(frontend.state(), before);
    t.equal(log.lines.length, lines, 'BIRD was not even asked');
  });

  t.test('what BIRD refuses is told in its words, and what was before goes on', async t => {
    const { frontend, files } = await both(t);
    await untilUp(frontend);
    const before = { state: frontend.state(), text: readFileSync(join(files, 'bird.conf'), 'utf8') };
    await t.rejects(frontend.set(wantedFrontend({ routerId: '10.0.0.bad' })), {
      code: 'CONFIG_INVALID',
      message: /^gateways: BIRD refuses what was written for it: .*syntax error/,
    });
    t.strictSame(frontend.state(), before.state);
    t.equal(readFileSync(join(files, 'bird.conf'), 'utf8'), before.text);
    const { frontend: other, files: others } = openFrontend();
    t.teardown(() => other.stop());
    await t.rejects(other.set(wantedFrontend({ routerId: 'bad' })), { code: 'CONFIG_INVALID' });
    t.equal(other.state().bird.status, 'off', 'also at the start');
    await other.stop();
    t.notOk(existsSync(others), 'and leaves no file');
  });

  t.test('sessions with a password come up with the right one alone', async t => {
    const passwordFile = join(directory, 'password');
    writeFileSync(passwordFile, 'a "b\n');
    const gateways = [bgpGateway(0, { passwordFile, ips: bgpGateway(0).ips.slice(0, 1) })];
    const { frontend } = await both(t, { password: 'right; # }' }, { gateways: [] });
    await t.rejects(frontend.set(wantedFrontend({ gateways })), {
      message: /gateway router-0: the password/,
    });
    writeFileSync(passwordFile, 'wrong\nright; # }\n');
    await frontend.set(wantedFrontend({ gateways }));
    await until('it tries in vain', () => /^(Connect|Active)/.test(frontend.state().sessions[0]?.info ?? ''));
    writeFileSync(passwordFile, 'right; # }\r\nmore');
    await frontend.set(wantedFrontend({ gateways }));
    await untilUp(frontend);
    await frontend.set(wantedFrontend({ gateways, announced: [] }));
    t.ok(allUp(frontend.state()));
  });
}

/** A router and a frontend that talk to each other until the test ends. */
async function both(
  t: Test,
  plan: Partial<RouterPlan> = {},
  wanted: Partial<WantedFrontend> = {},
  onChange?: () => void,
) {
  const router = await startRouter(0, plan);
  const opened = openFrontend(onChange);
  t.teardown(async () => {
    await opened.frontend.stop();
    await router.stop();
    if (!t.passing()) t.comment(opened.log.lines.join('\n'));
  });
  await opened.frontend.set(wantedFrontend(wanted));
  return { router, ...opened };
}

function untilUp(frontend: Frontend): Promise<number> {
  return until('all sessions are up', () => allUp(frontend.state()));
}

function median(values: readonly number[]): number {
  return Math.round([...values].sort((a, b) => a - b)[values.length >> 1]!);
}
