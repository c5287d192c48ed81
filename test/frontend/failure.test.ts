import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { WantedFrontend } from '../../host/frontend/wanted.js';
import { leeway } from '../../scripts/lab/wait.js';
import { insideNamespace, shell } from '../kernel/namespace.js';
import {
  allUp,
  bgpGateway,
  directory,
  egressTable,
  endNetwork,
  makeNetwork,
  openFrontend,
  startRouter,
  until,
  VIP4,
  VIP6,
  wantedFrontend,
} from './network.js';

const LEFT = 'default via 169.254.100.150 dev ext-vlan0 proto bird metric 32 \n';

const TAKEN =
  /^gateway router-0, 169\.254\.100\.150: BIRD cannot listen on port 179: another program uses it/;
const TAKEN_BFD = /^BIRD cannot open the ports of BFD/;
/** Says so when it has the port in both families. */
const HOLD_PORT = `
const { createServer } = require('node:net');
const done = () => { if (--left === 0) console.log('held'); };
let left = 2;
createServer().listen(179, '0.0.0.0', done);
createServer().listen({ port: 179, host: '::', ipv6Only: true }, done);
`;
const HOLD_BFD = `
const { createSocket } = require('node:dgram');
const done = () => { if (--left === 0) console.log('held'); };
let left = 2;
createSocket('udp4').bind(3784, '0.0.0.0', done);
createSocket({ type: 'udp6', ipv6Only: true }).bind(3784, '::', done);
`;

const HOLD_BFD4 =
  "require('node:dgram').createSocket('udp4').bind(3784, '0.0.0.0', () => console.log('held'))";

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  t.setTimeout(300_000);
  makeNetwork(1);
  t.teardown(endNetwork);

  t.test('a BIRD that is killed is told, started again, and its session comes back', async t => {
    const { router, frontend, log } = await start(t);
    await until('up', () => allUp(frontend.state()));
    const { pid } = frontend.state().bird;
    const killedAt = Date.now();
    process.kill(pid!, 'SIGKILL');
    await until('it is told', () => frontend.state().bird.lastError === 'signal SIGKILL');
    t.ok(
      frontend.state().sessions.every(({ up, since }) => !up && Date.parse(since!) >= killedAt),
      'down since then',
    );
    t.ok(
      log.lines.some(line => /^warn gateway is down .*"reason":"BIRD does not run"/.test(line)),
      'which is logged',
    );
    t.comment(`back after ${await until('up again', () => allUp(frontend.state()))} ms`);
    t.match(frontend.state().bird, { status: 'running', restarts: 1, lastError: 'signal SIGKILL' });
    t.not(frontend.state().bird.pid, pid);
    t.ok(
      log.lines.some(line =>
        line.startsWith('error BIRD failed; it is started again {"how":"signal SIGKILL"'),
      ),
    );
    await until('the VIP is back', () => router.knows(VIP4));
    t.equal(egressTable(4), LEFT);
  });

  t.test('a BIRD that does not listen is killed when it is told something, and at the end', async t => {
    const { router, frontend } = await start(t);
    await until('up', async () => allUp(frontend.state()) && (await router.knows(VIP4)));
    process.kill(frontend.state().bird.pid!, 'SIGSTOP');
    const begun = performance.now();
    await frontend.announce([]);
    t.comment(`withdrawn after ${await until('gone', async () => !(await router.knows(VIP4)))} ms more`);
    t.ok(performance.now() - begun < 10_000);
    await until('the next one runs', () => allUp(frontend.state()));
    t.notOk(await router.knows(VIP4), 'and announces nothing');
    const { pid } = frontend.state().bird;
    process.kill(pid!, 'SIGSTOP');
    await frontend.stop();
    t.notOk(existsSync(`/proc/${pid}`));
    t.equal(egressTable(4), '', 'also what it left is gone');
  });

  t.test('a BIRD that cannot start is told and tried again, and set waits for none of it', async t => {
    // A directory stands where its pid file is to be.
    const { frontend, files } = openFrontend();
    t.teardown(() => frontend.stop());
    await frontend.set(wantedFrontend({ gateways: [] }));
    shell(`mkdir -p ${files}/bird.pid`);
    await frontend.set(wantedFrontend());
    t.match(frontend.state().bird, { status: 'failed', pid: null });
    t.match(frontend.state().bird.lastError, /^BIRD ended at its start: exit code 1: .*bird\.pid/);
    await until('tried again', () => frontend.state().bird.restarts >= 2);
    t.equal(frontend.state().sessions[0]!.info, 'BIRD does not run');
    shell(`rmdir ${files}/bird.pid`);
    await until('it runs', () => frontend.state().bird.status === 'running');
  });

  t.test('a port that is taken at the start is a warning, and the session comes when it is free', async t => {
    const holder = spawn(process.execPath, ['-e', HOLD_PORT], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => holder.kill('SIGKILL'));
    await once(holder.stdout, 'data');
    const { router, frontend, log } = await start(t, { gateways: [bgpGateway(0, { bfd: null })] });
    await until('both are warned of', () => frontend.state().warnings.length === 2);
    t.match(frontend.state().warnings[0], TAKEN);
    await until('the session says so', () =>
      /^BIRD cannot listen on port 179/.test(frontend.state().sessions[0]?.info ?? ''),
    );
    const tries = () => log.lines.filter(line => line.includes('Enabling protocol')).length;
    await until('it was tried again', () => tries() >= 1);
    holder.kill('SIGKILL');
    t.comment(`up after ${await until('up', () => allUp(frontend.state()))} ms`);
    await until('the VIPs are known', async () => (await router.knows(VIP4)) && (await router.knows(VIP6)));
    await until('no warning is left', () => frontend.state().warnings.length === 0);
    const repeated = log.lines.filter(line => /^error BIRD says \{"bird":"gateway-169.*bind/.test(line));
    t.equal(repeated.length, 1, 'a line that BIRD repeats is written once');
  });

  t.test(
    'ports of BFD that are taken at the start are a warning, and BFD comes when they are free',
    async t => {
      const holder = spawn(process.execPath, ['-e', HOLD_BFD], { stdio: ['ignore', 'pipe', 'inherit'] });
      t.teardown(() => holder.kill('SIGKILL'));
      await once(holder.stdout, 'data');
      const bfd = { minRxMs: 100, minTxMs: 100, multiplier: 5 };
      const router = await startRouter(0, { bfd });
      const { frontend, log } = openFrontend();
      t.teardown(async () => {
        await frontend.stop();
        await router.stop();
        if (!t.passing()) t.comment(log.lines.join('\n'));
      });
      await frontend.set(wantedFrontend({ gateways: [bgpGateway(0, { bfd })] }));
      await until('it is warned of', () => frontend.state().warnings.some(line => TAKEN_BFD.test(line)));
      holder.kill('SIGKILL');
      t.comment(`up after ${await until('up', () => allUp(frontend.state()))} ms`);
      await until('no warning is left', () => frontend.state().warnings.length === 0);
    },
  );

  t.test('a port of BFD that is taken in one family leaves the other one alone', async t => {
    const holder = spawn(process.execPath, ['-e', HOLD_BFD4], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => holder.kill('SIGKILL'));
    await once(holder.stdout, 'data');
    const bfd = { minRxMs: 100, minTxMs: 100, multiplier: 5 };
    const router = await startRouter(0, { bfd });
    const { frontend, log } = openFrontend();
    t.teardown(async () => {
      await frontend.stop();
      await router.stop();
      if (!t.passing()) t.comment(log.lines.join('\n'));
    });
    await frontend.set(wantedFrontend({ gateways: [bgpGateway(0, { bfd })] }));
    await until('IPv6 is up', () => frontend.state().sessions[1]?.up === true);
    const { since } = frontend.state().sessions[1]!;
    t.match(frontend.state().warnings, [TAKEN_BFD]);
    await until('some tries would have been due', () => Date.now() - Date.parse(since!) > 1500);
    t.equal(frontend.state().sessions[1]!.since, since, 'no try ended its session');
    holder.kill('SIGKILL');
    t.comment(`up after ${await until('both are up', () => allUp(frontend.state()))} ms`);
    await until('no warning is left', () => frontend.state().warnings.length === 0);
  });

  t.test('without gateways there is no BIRD, and what a killed one left is removed', async t => {
    const { frontend } = await start(t);
    await until('up', () => egressTable(4) === LEFT);
    const { pid } = frontend.state().bird;
    await frontend.set(wantedFrontend({ gateways: [] }));
    t.strictSame(frontend.state(), {
      bird: { status: 'off', pid: null, restarts: 0, lastError: null },
      sessions: [],
      warnings: [],
    });
    t.notOk(existsSync(`/proc/${pid}`));
    t.equal(egressTable(4) + egressTable(6), '');
    shell(
      `ip route add ${LEFT.trim()} table 4096; ip route add 10.9.0.0/16 dev ext-vlan0 table 4096 proto static`,
    );
    await openFrontend().frontend.set(wantedFrontend({ gateways: [] }));
    t.equal(egressTable(4), '10.9.0.0/16 dev ext-vlan0 proto static scope link \n', 'and nothing of others');
    shell('ip route flush table 4096');
  });

  t.test(
    'BIRD dies with its parent: the VIP is withdrawn, and the next one takes over what is left',
    async t => {
      const router = await startRouter(0);
      t.teardown(() => router.stop());
      const files = join(directory, 'orphan');
      const module = new URL('../../host/frontend/frontend.js', import.meta.url).href;
      const program = `
      import { Frontend } from '${module}';
      const log = Object.fromEntries(['debug', 'info', 'warn', 'error'].map(level => [level, () => {}]));
      const frontend = Frontend.open({ directory: '${files}', log });
      await frontend.set({ ...${JSON.stringify(wantedFrontend())}, unreachable: new Map() });
      console.log(frontend.state().bird.pid);
    `;
      const env = { ...process.env, NODE_OPTIONS: '' };
      const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      parent.stdout.on('data', chunk => {
        text += chunk;
      });
      await until('announced', async () => (await router.knows(VIP4)) && (await router.knows(VIP6)));
      await until('routes', () => egressTable(4) === LEFT);
      await until('it has said who BIRD is', () => text.endsWith('\n'));
      const pid = Number(text.trim());
      parent.kill('SIGKILL');
      const withdrawn = await until(
        'withdrawn',
        async () => !(await router.knows(VIP4)) && !(await router.knows(VIP6)),
      );
      t.comment(`withdrawn after ${withdrawn} ms`);
      t.ok(withdrawn < 1000 * (await leeway()));
      await until('BIRD is gone', () =>
        /^(State:\s+[ZX].*)?$/.test(shell(`grep State: /proc/${pid}/status || true`).trim()),
      );
      t.equal(egressTable(4), LEFT, 'its routes are not');
      const gateway = {
        name: 's',
        protocol: 'static',
        bfd: null,
        ips: [{ family: 4, address: '169.254.100.151' }],
      } as const;
      const { frontend } = openFrontend();
      t.teardown(() => frontend.stop());
      await frontend.set(wantedFrontend({ gateways: [gateway] }));
      await until('taken over', () => egressTable(4) === LEFT.replace('150', '151') && egressTable(6) === '');
    },
  );

  t.test(
    'a route that somebody else removes is back with the next scan, every second; one of theirs stays',
    async t => {
      const { frontend } = await start(t);
      await until('up', () => egressTable(4) === LEFT);
      shell('ip route add 10.9.0.0/16 dev ext-vlan0 table 4096 proto static');
      shell('ip route del default table 4096');
      t.comment(`back after ${await until('back', () => egressTable(4).startsWith(LEFT))} ms`);
      await frontend.stop();
      t.equal(egressTable(4), '10.9.0.0/16 dev ext-vlan0 proto static scope link \n');
      shell('ip route flush table 4096');
    },
  );
}

async function start(t: Test, wanted: Partial<WantedFrontend> = {}) {
  const router = await startRouter(0);
  const opened = openFrontend();
  t.teardown(async () => {
    if (!t.passing()) t.comment(JSON.stringify(opened.frontend.state(), null, 1));
    await opened.frontend.stop();
    await router.stop();
    if (!t.passing()) t.comment(opened.log.lines.join('\n'));
  });
  await opened.frontend.set(wantedFrontend(wanted));
  return { router, ...opened };
}
