/** The daemon without its file: what was applied last is kept; and with a file that changes under it. */
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LabDaemon, MAGMARK } from '../../scripts/lab/daemon.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import {
  answered,
  comparableState,
  configFile,
  connectionsTo,
  inLoadBalancer,
  kernelState,
  predict,
  startDaemon,
  startLab,
  writeConfig,
} from './lab.js';

const WAIT_MS = 60_000;
const VIPS = { 4: ['20.0.0.1'], 6: ['2000::1'] } as const;

const TARGETS = {
  69: '{identifier: 69, ips: [172.16.0.6, "fd00::6"]}',
  62: '{identifier: 62, ips: [172.16.0.8, "fd00::8"]}',
  44: '{identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}',
};
type Identifier = keyof typeof TARGETS;

const configText = (...identifiers: Identifier[]): string => `
queues: 0
shutdownDelay: 0s
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32, "2000::1/128"]
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}
streams:
  - name: a
    targets:
${identifiers.map(each => `      - ${TARGETS[each]}`).join('\n')}
flows:
  - {name: tcp, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["4000"]}
`;

t.setTimeout(600_000);
const { topology, clients } = await startLab(t);
const pristine = await kernelState(topology);
/** The default, since the namespace has a name. */
const KEPT = `/var/lib/magmark/state-${topology.loadBalancer}.json`;
let port = 20_000;

async function expectPredicted(t: Test, text: string, claim: string): Promise<void> {
  for (const family of [4, 6] as const) {
    const connections = connectionsTo(family, VIPS[family], 40, port);
    t.strictSame(
      answered(await clients.connect(connections)),
      predict(text, connections),
      `IPv${family}: ${claim}`,
    );
  }
  port += 40;
}

let logs = 0;
/** `magmark run` without `--config`. */
function startWithoutFile(options: readonly string[] = []): LabDaemon {
  const log = join(topology.directory, `without-file-${logs++}.log`);
  return new LabDaemon(topology, null, log, topology.loadBalancer, options);
}

/** `magmark run` that is expected to end by itself. */
async function refusedStart(...options: string[]) {
  const argv = [...Topology.inside(topology.loadBalancer), 'node', MAGMARK, 'run', ...options];
  return topology.processes.command(argv, { mayFail: true });
}

t.test('with no file named and nothing kept it does not start, and says what to do', async t => {
  const { code, stderr } = await refusedStart();
  t.equal(code, 1);
  t.match(stderr, `${KEPT}: nothing is kept there of an earlier run: name a configuration by --config`);
  t.equal((await refusedStart('--watch')).code, 1);
  t.equal(await kernelState(topology), pristine);
});

t.test('killed, and started with no file: the same decisions, and it says so loudly', async t => {
  const text = configText(69, 62, 44);
  const first = startDaemon(topology, text);
  await first.ready();
  t.match((await first.status()).state, { path: KEPT, fault: null });
  const whole = await comparableState(topology);
  await first.stop('SIGKILL');
  // The file is not asked for any more.
  writeConfig(topology, 'no configuration');

  const second = startWithoutFile();
  await second.ready();
  t.match(
    second.log().find(line => line.msg === 'no file was named: what was applied last is used'),
    { level: 'warn', state: KEPT, name: configFile(topology) },
  );
  t.match(await second.status(), {
    configFile: null,
    source: { kind: 'state', name: configFile(topology) },
    state: { path: KEPT, fault: null },
  });
  t.match(
    await inLoadBalancer(topology, 'node', MAGMARK, 'status'),
    `configuration kept in ${KEPT} of ${configFile(topology)}, since no file was named`,
  );
  t.equal(await comparableState(topology), whole);
  await expectPredicted(t, text, 'as before');
  const line = await second.reload();
  t.equal(line.msg, 'reload refused');
  t.match(line.faults, ['no file was named at the start: magmark apply FILE brings one about']);
  t.equal((await second.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});

t.test('what was applied is kept too, also by a daemon without a file; a refused change is not', async t => {
  const daemon = startDaemon(topology, configText(69));
  await daemon.ready();
  const applied = join(topology.directory, 'applied.yaml');
  const text = configText(62, 44);
  writeFileSync(applied, text);
  await inLoadBalancer(topology, 'node', MAGMARK, 'apply', applied);
  writeConfig(topology, text.replace('vips:', 'vips'));
  t.equal((await daemon.reload()).msg, 'reload refused');
  await daemon.stop('SIGKILL');

  const second = startWithoutFile();
  await second.ready();
  t.match((await second.status()).source, { kind: 'state', name: applied });
  await expectPredicted(t, text, 'as applied');
  writeFileSync(applied, configText(44));
  await inLoadBalancer(topology, 'node', MAGMARK, 'apply', applied);
  t.match((await second.status()).source, { kind: 'apply', name: applied });
  t.equal((await second.stop()).code, 0);

  const third = startWithoutFile();
  await third.ready();
  await expectPredicted(t, configText(44), 'as applied to the second');
  await third.stop();
});

t.test('a state that is damaged is an error that names it, and nothing is changed', async t => {
  const whole = readFileSync(KEPT, 'utf8');
  for (const [text, fault] of [
    [whole.slice(0, 100), /: Unterminated string/],
    [whole.replace('"version":1', '"version":99'), /: of version 99, and this magmark reads 1/],
    [whole.replace('172.16.1.6', '172.16.1.9'), /: its text is not the one that was written/],
  ] as const) {
    writeFileSync(KEPT, text);
    const { code, stderr } = await refusedStart();
    t.equal(code, 1);
    t.match(stderr, fault);
    t.match(stderr, KEPT);
    t.notMatch(stderr, /unexpected error/);
    t.equal(await kernelState(topology), pristine);
  }
});

t.test('a full disk and a read-only one are a warning, and the change is made', async t => {
  const place = join(topology.directory, 'disk');
  mkdirSync(place);
  const state = join(place, 'state.json');
  const daemon = startDaemon(topology, configText(69, 62), ['--state', state]);
  await daemon.ready();
  // In the daemon's own mount namespace, which `ip netns exec` made.
  const inDaemon = (...argv: string[]) =>
    topology.processes.command(['nsenter', '-t', `${daemon.pid}`, '-m', ...argv]);
  const warnings = async () => (await daemon.status()).warnings.filter(line => /not kept/.test(line));
  t.same(await warnings(), []);

  await inDaemon('mount', '-t', 'tmpfs', '-o', 'size=16k', 'none', place);
  await inDaemon('sh', '-c', `! head -c 1000000 /dev/zero >${place}/filler`);
  writeConfig(topology, configText(69));
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.match(await warnings(), [/what is in force is not kept for a start without a file: .*ENOSPC/]);
  t.match((await daemon.status()).state.fault, /ENOSPC/);
  t.ok(daemon.log().some(line => line.level === 'warn' && /is not kept .*ENOSPC/.test(line.msg)));
  await expectPredicted(t, configText(69), 'the change is made');

  await inDaemon('rm', `${place}/filler`);
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.same(await warnings(), [], 'with room again it is kept');
  await inDaemon('mount', '-o', 'remount,ro', place);
  writeConfig(topology, configText(62));
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.match(await warnings(), [/EROFS/]);
  t.equal((await daemon.stop()).code, 0);
});

t.test('--watch: written in place, replaced by rename, faulty, gone; each once', async t => {
  const daemon = startDaemon(topology, configText(69), ['--watch']);
  await daemon.ready();
  const file = configFile(topology);
  const seen = (message: string) => daemon.log().filter(({ msg }) => msg === message);
  const after = (message: string, count: number) =>
    waitFor(`"${message}" ${count} times`, WAIT_MS, () => seen(message).length === count);

  writeConfig(topology, configText(62));
  await after('reloaded', 1);
  await expectPredicted(t, configText(62), 'written in place');

  writeFileSync(`${file}.next`, configText(44));
  renameSync(`${file}.next`, file);
  await after('reloaded', 2);
  await expectPredicted(t, configText(44), 'replaced by rename');

  const state = await kernelState(topology);
  writeConfig(topology, configText(69).replace('streams', 'strings'));
  await after('reload refused', 1);
  t.match((seen('reload refused')[0]!.faults as string[]).join(), /strings/);
  t.equal(await kernelState(topology), state, 'a faulty file changes nothing');
  renameSync(file, `${file}.away`);
  await after('reload refused', 2);
  t.match(seen('reload refused')[1]!.faults, [/cannot be read/]);
  writeConfig(topology, configText(69, 44));
  await after('reloaded', 3);
  await expectPredicted(t, configText(69, 44), 'back again');

  t.equal((await daemon.reload()).msg, 'reloaded', 'SIGHUP works as ever');
  t.equal(seen('reloaded').length, 4);
  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});

t.test('--watch: the swap of a ConfigMap', async t => {
  const directory = join(topology.directory, 'config-map');
  mkdirSync(directory);
  let version = 0;
  // As kubelet does it.
  const put = (text: string): void => {
    const name = `..version-${++version}`;
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, 'config.yaml'), text);
    symlinkSync(name, join(directory, '..data_tmp'));
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  };
  put(configText(69, 62));
  const file = join(directory, 'config.yaml');
  symlinkSync('..data/config.yaml', file);
  const log = join(topology.directory, 'config-map.log');
  const daemon = new LabDaemon(topology, file, log, topology.loadBalancer, ['--watch']);
  await daemon.ready();
  put(configText(44));
  await waitFor('the reload', WAIT_MS, () => daemon.log().some(({ msg }) => msg === 'reloaded'));
  await expectPredicted(t, configText(44), 'as swapped');
  t.equal((await daemon.stop()).code, 0);
  t.ok(existsSync(KEPT), 'a stop leaves what is kept');
});
