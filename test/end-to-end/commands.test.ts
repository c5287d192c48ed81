/** magmark's own commands against a running daemon, as an operator types them. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { ExplainReply, StatusReply } from '../../host/control/api.js';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { TARGETS, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { configFile, inLoadBalancer, predict, startDaemon, startLab, TARGET_LINES } from './lab.js';

const CONFIG = `
queues: 0
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [20.0.0.1/32, "2000::1/128"]
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
streams:
  - name: a
    targets:
${TARGET_LINES}
flows:
  - {name: tcp, stream: a, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["4000"]}
`;

t.setTimeout(600_000);
const { topology } = await startLab(t);
const daemon = startDaemon(topology, CONFIG);
await daemon.ready();

let removed = '';
const magmark = (...args: string[]) => inLoadBalancer(topology, 'node', MAGMARK, ...args);
const failing = async (...args: string[]) => {
  const argv = [...Topology.inside(topology.loadBalancer), 'node', MAGMARK, ...args];
  return topology.processes.command(argv, { mayFail: true });
};
const status = async () => JSON.parse(await magmark('status', '--json')) as StatusReply;

t.test('the listings are tables for people and JSON for programs', async t => {
  t.match(
    await magmark('targets'),
    /│ a +│ +69 │ +5069 │ 172\.16\.0\.6 fd00::6 +│ active \(no health check\) +│ +0 │ +- │ +2[45]\.\d % │/,
  );
  t.match(await magmark('flows'), /│ tcp +│ +1 │ a +│ tcp +│ 20\.0\.0\.1\/32 2000::1\/128 +│ 4000/);
  t.match(
    await magmark('streams'),
    /│ a +│ +9973 │ +100 │ +4 │ 5044 5062 5069 5073 +│ +0 │ - +│ [\d.]+ to [\d.]+ % +│/,
  );
  await waitFor('the gateway to be up', 60_000, async () =>
    /g +│ static +│ 169\.254\.100\.150 +│ up/.test(await magmark('gateways')),
  );
  t.match(await magmark('status'), /4 targets, 0 of them take no traffic/);
  for (const listing of ['targets', 'flows', 'streams', 'gateways'])
    t.ok(JSON.parse(await magmark(listing, '--json')), listing);
});

t.test('explain names flow, stream, slot, target, mark, table and next hop', async t => {
  for (const family of [4, 6] as const) {
    const source = family === 4 ? '192.0.2.1' : '2001:db8::1';
    const connection = { family, source, sourcePort: 40000, destination: VIP[family], destinationPort: 4000 };
    const end = (address: string, port: number) =>
      family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
    const packet = `tcp ${end(source, 40000)} > ${end(VIP[family], 4000)}`;
    const reply = JSON.parse(await magmark('explain', '--json', packet)) as ExplainReply;
    const [identifier] = predict(CONFIG, [connection]);
    const target = TARGETS.find(each => each.identifier === identifier)!;
    t.match(reply, {
      reason: 'ok',
      flow: 'tcp',
      stream: 'a',
      tableSize: 9973,
      identifier,
      fwmark: 5000 + identifier!,
      route: { table: 5000 + identifier!, via: target.ips[family], error: null },
      vip: `${VIP[family]}/${family === 4 ? 32 : 128}`,
      back: { table: 4096, via: family === 4 ? '169.254.100.150' : '100:100::150', error: null },
    });
    t.match(await magmark('explain', packet), new RegExp(`next hop  ${target.ips[family]} dev conduit-a-`));
  }
  const missed = await magmark('explain', 'udp 192.0.2.1:1 > 20.0.0.1:4000');
  t.match(missed, /flow +tcp \(priority 1\): protocol udp is none of tcp/);
  t.match(missed, /mark +none: the packet is dropped \(no-flow\)/);
  const noVip = await magmark('explain', 'tcp 192.0.2.1:1 > 20.0.0.99:4000');
  t.match(noVip, /vip +none holds the destination: .* never reaches magmark/);
  t.match(noVip, /mark +none: the packet never reaches magmark/);
  t.notMatch(noVip, /dropped \(no-flow\)/);
  const fault = await failing('explain', 'nonsense');
  t.equal(fault.code, 1);
  t.match(fault.stderr, /nonsense is not a packet: write <proto>/);
});

t.test('diff tells what somebody changed, and what a file would change, and changes nothing', async t => {
  t.equal(await magmark('diff'), 'nothing differs\n');
  const file = join(topology.directory, 'planned.yaml');
  const [first] = TARGETS;
  writeFileSync(
    file,
    CONFIG.replace(/ {6}- \{identifier: 69.*\n/, '').replace(
      '20.0.0.1/32, "2000::1/128"]\ngateways',
      '20.0.0.1/32, 20.0.0.7/32, "2000::1/128"]\ngateways',
    ),
  );
  const before = await inLoadBalancer(topology, 'sh', '-c', 'ip rule; nft list ruleset');
  const planned = await failing('diff', file);
  t.equal(planned.code, 1);
  const mark = `0x${(5000 + first!.identifier).toString(16)}`;
  for (const line of [
    new RegExp(
      `^- ip -4 rule del priority \\d+ fwmark ${mark}/0xffffffff lookup ${5000 + first!.identifier}$`,
      'm',
    ),
    new RegExp(`^- ip -6 route del default table ${5000 + first!.identifier}$`, 'm'),
    /^\+ ip -4 rule add priority 100 from 20\.0\.0\.7\/32 lookup 4096$/m,
    /^~ table inet meridio-nfqlb: set ipv4-vips$/m,
    /^configuration:\n\+ vip 20\.0\.0\.7\/32\n- a\/69\nkernel:\n/,
  ])
    t.match(planned.stdout, line);
  t.equal(
    await inLoadBalancer(topology, 'sh', '-c', 'ip rule; nft list ruleset'),
    before,
    'nothing was changed',
  );
  // What the kernel does not hold is a difference all the same.
  const checked = join(topology.directory, 'checked.yaml');
  writeFileSync(
    checked,
    CONFIG.replace('- name: a\n', '- name: a\n    healthCheck: {type: tcp, port: 4000}\n'),
  );
  const difference = await failing('diff', checked);
  t.equal(difference.code, 1);
  t.equal(difference.stdout, 'configuration:\n+ stream a: healthCheck\nkernel:\nnothing differs\n');
  t.strictSame(JSON.parse((await failing('diff', checked, '--json')).stdout), [
    { of: 'configuration', kind: 'missing', what: 'stream a: healthCheck' },
  ]);
  writeFileSync(checked, CONFIG.replace('172.16.1.6', '192.168.77.7'));
  t.match(
    (await failing('diff', checked)).stdout,
    /^! target a\/44: no interface that is up has an address in the network of 192\.168\.77\.7$/m,
  );
  t.equal((await status()).lastChange, null);
  await magmark('apply', file);
  const lastChange = { added: ['vip 20.0.0.7/32'], removed: ['a/69'], changed: [] };
  t.strictSame((await status()).lastChange, lastChange);
  t.match(await magmark('status'), /last change: added vip 20\.0\.0\.7\/32; removed a\/69\n/);
  t.match(
    daemon.log().find(({ msg }) => msg === 'applied'),
    { added: lastChange.added, removed: lastChange.removed },
  );
  t.match(await daemon.reload(), { msg: 'reloaded', added: lastChange.removed, removed: lastChange.added });
  // What comes later to our numbers is told for as long as it stands.
  await inLoadBalancer(topology, 'ip', 'rule', 'add', 'priority', '5', 'fwmark', '5044', 'lookup', '77');
  const found = await failing('diff', '--json');
  t.equal(found.code, 1);
  t.match(JSON.parse(found.stdout), [{ kind: 'foreign', what: /takes marks of ours/ }]);
  await inLoadBalancer(topology, 'ip', 'rule', 'del', 'priority', '5');
  t.equal((await failing('diff', join(topology.directory, 'nowhere'))).code, 1);
});

t.test(
  'the applied ruleset is a file that everyone may read and nft loads, current and removed at the end',
  async t => {
    const own = (
      await inLoadBalancer(topology, 'sh', '-c', 'echo /run/magmark/net-$(stat -Lc %i /proc/self/ns/net).nft')
    ).trim();
    const second = join(topology.directory, 'ruleset.nft');
    const file = join(topology.directory, 'ruleset.yaml');
    writeFileSync(file, `rulesetFile: ${second}\n${CONFIG}`);
    await magmark('apply', file);
    const text = readFileSync(own, 'utf8');
    t.equal(readFileSync(second, 'utf8'), text);
    t.match(text, /set ipv4-vips \{\n.*\n.*\n\t\telements = \{ 20\.0\.0\.1 \}\n/);
    t.equal(statSync(own).mode & 0o777, 0o644);
    await topology.processes.command(['unshare', '--net', 'nft', '-f', own]);
    writeFileSync(file, CONFIG.replaceAll('20.0.0.1/32', '20.0.0.0/30'));
    await magmark('apply', file);
    t.match(readFileSync(own, 'utf8'), /elements = \{ 20\.0\.0\.0\/30 \}/);
    t.notOk(existsSync(second), 'a place that is configured no more has none');
    const nowhere = '/nowhere/ruleset.nft';
    writeFileSync(file, `rulesetFile: ${nowhere}\n${CONFIG}`);
    await magmark('apply', file);
    t.match((await status()).warnings.join('\n'), /cannot write ruleset file \/nowhere\/ruleset\.nft/);
    t.equal((await daemon.reload()).msg, 'reloaded');
    removed = own;
  },
);

t.test('apply takes the place of the file until SIGHUP reads that again, and status says so', async t => {
  const file = join(topology.directory, 'other.yaml');
  writeFileSync(file, CONFIG.replace('maxTargets: 100', '').replace('priority: 1', 'priority: 7'));
  t.match(await magmark('apply', file), /other\.yaml: applied, generation \d+\n/);
  t.match((await status()).source, { kind: 'apply', name: file });
  t.match(await magmark('status'), /applied from .*other\.yaml until SIGHUP reads .*config\.yaml/);
  t.match(await magmark('flows'), /│ tcp +│ +7 │/);
  const { generation } = await status();
  writeFileSync(file, readFileSync(file, 'utf8').replace('identifier: 69', 'identifier: 690'));
  const refused = await failing('apply', file);
  t.equal(refused.code, 1);
  t.match(refused.stderr, /streams\[0\]\.targets\[0\]\.identifier: 690 is above maxTargets 100/);
  t.equal((await status()).generation, generation, 'a faulty file changes nothing');
  // What only the daemon can see: a VIP that covers an address of its host.
  writeFileSync(file, CONFIG.replace('vips: [20.0.0.1/32,', 'vips: [20.0.0.1/32, 169.254.100.0/24,'));
  const covered = await failing('apply', file);
  t.equal(covered.code, 1);
  t.match(covered.stderr, /169\.254\.100\.0\/24 covers 169\.254\.100\.149 of this host/);
  // The command waits for the reload, and says what it changed.
  t.match(await magmark('reload'), /config\.yaml: reloaded, generation \d+\n(?:.*\n)*changed: .*tcp/);
  const own = configFile(topology);
  writeFileSync(own, CONFIG.replace('identifier: 69', 'identifier: 690'));
  const faulty = await failing('reload');
  t.equal(faulty.code, 1);
  t.match(faulty.stderr, /streams\[0\]\.targets\[0\]\.identifier: 690 is above maxTargets 100/);
  t.match((await status()).warnings, [/the last reload was refused/]);
  writeFileSync(own, CONFIG);
  t.match(JSON.parse(await magmark('reload', '--json')), { file: own, generation: Number, warnings: [] });
  t.match((await status()).source, { kind: 'file' });
  t.match(await magmark('flows'), /│ tcp +│ +1 │/);
  await daemon.stop();
  t.notOk(existsSync(removed), 'the ruleset file goes with the ruleset');
});
