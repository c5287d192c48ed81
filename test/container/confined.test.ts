/**
 * What a container makes different for the daemon, without an image: it is process 1, has one capability and a read-only root,
 * and may not write settings. `npm run test:container` does the same, and more, with podman.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { childrenOf } from '../../scripts/lab/children.js';
import { SYSCTLS } from '../../scripts/lab/container.js';
import { type Housing, LabDaemon, MAGMARK } from '../../scripts/lab/daemon.js';
import { LabGateway } from '../../scripts/lab/gateway.js';
import { VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { answered, connectionsTo, kernelState, predict, startLab, writeConfig } from '../end-to-end/lab.js';

const CONFIG = readFileSync(
  fileURLToPath(new URL('../../../scripts/lab/config.yaml', import.meta.url)),
  'utf8',
);
const WAIT_MS = 60_000;

/** $0 is the run's directory, which stays visible, "$@" the daemon. */
const CONFINE = `
mount --bind "$0" /mnt
mount -t tmpfs none /run
mkdir -p "$0"
mount --bind /mnt "$0"
umount /mnt
${SYSCTLS.map(setting => {
  const [name, value] = setting.split('=');
  return `echo ${value} >/proc/sys/${name!.replaceAll('.', '/')}`;
}).join('\n')}
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -o remount,bind,ro /
exec setpriv --bounding-set=-all,+net_admin --inh-caps=-all --no-new-privs -- "$@"`;

class Confined implements Housing {
  /** Of the daemon, as this machine numbers it. */
  pid = 0;

  constructor(private readonly topology: Topology) {}

  run(options: readonly string[]): string[] {
    const { directory, loadBalancer } = this.topology;
    const unshared = ['unshare', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
    const daemon = ['env', '-u', 'NODE_OPTIONS', 'node', MAGMARK, 'run', ...options];
    return [...Topology.inside(loadBalancer), ...unshared, 'sh', '-ec', CONFINE, directory, ...daemon];
  }

  ask(argv: readonly string[]): string[] {
    return ['nsenter', '--target', `${this.pid}`, '--mount', '--net', '--pid', ...argv];
  }
}

t.setTimeout(300_000);
const { topology, clients } = await startLab(t, { staticRoutes: false });
const gateway = new LabGateway(topology);
await gateway.start();
const pristine = await kernelState(topology);
const file = join(topology.directory, 'config.yaml');
const confined = new Confined(topology);
let logs = 0;

async function start(text: string): Promise<LabDaemon> {
  writeConfig(topology, text);
  const log = join(topology.directory, `confined-${logs++}.log`);
  const { loadBalancer } = topology;
  const options = ['--state', join(topology.directory, 'state.json')];
  const daemon = new LabDaemon(topology, file, log, loadBalancer, options, {}, confined);
  confined.pid = await waitFor('process 1', WAIT_MS, () => childrenOf(daemon.pid)[0]?.pid);
  return daemon;
}

t.test('as process 1, with NET_ADMIN alone and a read-only root, it serves', async t => {
  const daemon = await start(CONFIG);
  await daemon.ready();
  const status = readFileSync(`/proc/${confined.pid}/status`, 'utf8');
  t.match(status, /^CapEff:\s+0000000000001000$/m);
  t.match(status, /^CapBnd:\s+0000000000001000$/m);
  t.match(status, /^NoNewPrivs:\s+1$/m);
  t.match(status, /^NSpid:\s+\d+\s+1$/m);
  t.match(readFileSync(`/proc/${confined.pid}/mounts`, 'utf8'), /^\S+ \/ \S+ ro[, ]/m);
  await gateway.untilExchanged(VIP);
  for (const family of [4, 6] as const) {
    const connections = connectionsTo(family, [VIP[family]], 60, 20_000);
    t.strictSame(answered(await clients.connect(connections)), predict(CONFIG, connections), `IPv${family}`);
  }
  t.strictSame((await daemon.status()).warnings, [], 'every setting is as wanted, and the state is kept');

  const { pid: bird } = (await daemon.status()).bird;
  const inside = (...argv: string[]) => topology.processes.command(confined.ask(argv));
  await inside('sh', '-c', `kill -KILL ${bird}`);
  await waitFor('BIRD to be started again', WAIT_MS, async () => {
    const { bird: next } = await daemon.status();
    return next.status === 'running' && next.pid !== bird;
  });
  await waitFor('every child that ended to be waited for', WAIT_MS, () =>
    childrenOf(confined.pid).every(({ state }) => state !== 'Z'),
  );

  process.kill(confined.pid, 'SIGHUP');
  await waitFor('SIGHUP to be honoured', WAIT_MS, () => daemon.log().some(({ msg }) => msg === 'reloaded'));
  process.kill(confined.pid, 'SIGTERM');
  await daemon.ended();
  t.equal(daemon.exitCode, 0, 'SIGTERM ends it');
  t.equal(await kernelState(topology), pristine);
});

t.test('a refused start ends process 1 with its exit code', async t => {
  const daemon = await start('colour: red\n');
  await daemon.ended();
  t.equal(daemon.exitCode, 1);
  t.match(daemon.logTail(), /colour/);
});

t.test('settings that it may not write are warnings', async t => {
  const setting = 'net/ipv4/fwmark_reflect';
  const daemon = await start(CONFIG);
  await daemon.ready();
  const write = ['sh', '-c', `echo 0 >/proc/sys/${setting}`];
  await topology.processes.command([...Topology.inside(topology.loadBalancer), ...write]);
  process.kill(confined.pid, 'SIGHUP');
  const warnings = await waitFor('a warning', WAIT_MS, async () => {
    const found = (await daemon.status()).warnings;
    return found.length > 0 && found;
  });
  t.match(warnings, [new RegExp(`^sysctl ${setting} is 0, 1 is wanted: EROFS`)]);
  process.kill(confined.pid, 'SIGTERM');
  await daemon.ended();
  t.equal(daemon.exitCode, 0);
});
