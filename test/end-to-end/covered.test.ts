/** A VIP that covers an address of this host, of a gateway or of a target is refused when it is applied. */
import t from 'tap';
import { MAGMARK } from '../../scripts/lab/daemon.js';
import { EXTERNAL } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { configFile, inLoadBalancer, kernelState, startDaemon, writeConfig } from './lab.js';

/** On an interface whose peer is down. */
const WITHOUT_CARRIER = { 4: '192.0.2.77', 6: '2001:db8:77::1' } as const;

const configText = (vip: string): string => `
vips: [20.0.0.1/32, "2000::1/128", "${vip}"]
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
gateways: [{name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}]
streams:
  - name: s
    targets: [{identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}]
flows:
  - {name: f, stream: s, priority: 1, protocols: [tcp], vips: [20.0.0.1/32, "2000::1/128"], destinationPortRanges: ["4000"]}
`;

const ROWS: readonly (readonly [claim: string, vip: string, fault: string])[] = [
  [
    'an address of this host',
    `${EXTERNAL.loadBalancer[4]}/32`,
    `covers ${EXTERNAL.loadBalancer[4]} of this host`,
  ],
  [
    'an IPv6 address of this host',
    `${EXTERNAL.loadBalancer[6]}/128`,
    `covers ${EXTERNAL.loadBalancer[6]} of this host`,
  ],
  ['an address without a carrier', '192.0.2.0/24', `192.0.2.0/24 covers ${WITHOUT_CARRIER[4]} of this host`],
  [
    'an IPv6 address without a carrier',
    '2001:db8:77::/64',
    `2001:db8:77::/64 covers ${WITHOUT_CARRIER[6]} of this host`,
  ],
  ['link-local addresses', 'fe80::/10', 'of this host'],
  ['a gateway', '169.254.100.150/32', '169.254.100.150/32 covers 169.254.100.150 of gateway g'],
  ['an IPv6 gateway', '100:100::150/128', '100:100::150/128 covers 100:100::150 of gateway g'],
  ['a target', '172.16.1.6/32', '172.16.1.6/32 covers 172.16.1.6 of target s/44'],
  ['an IPv6 target', 'fd00:0:0:1::6/128', 'fd00:0:0:1::6/128 covers fd00:0:0:1::6 of target s/44'],
];
const HARMLESS = '198.51.100.0/24';

// Slow machines are no fault: every wait below has a bound of its own.
t.setTimeout(600_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
try {
  await topology.create();
  for (const argv of [
    ['ip', 'link', 'add', 'lonely', 'type', 'veth', 'peer', 'name', 'away'],
    ['ip', 'link', 'set', 'lonely', 'up'],
    ['ip', 'addr', 'add', `${WITHOUT_CARRIER[4]}/32`, 'dev', 'lonely'],
    ['ip', 'addr', 'add', `${WITHOUT_CARRIER[6]}/128`, 'dev', 'lonely'],
  ])
    await inLoadBalancer(topology, ...argv);
} catch (error) {
  await topology.destroy();
  throw error;
}
const pristine = await kernelState(topology);

t.test('a start is refused with the address and its owner, and nothing is changed', async t => {
  const argv = [
    ...Topology.inside(topology.loadBalancer),
    'node',
    MAGMARK,
    'run',
    '--config',
    configFile(topology),
  ];
  for (const [claim, vip, fault] of ROWS) {
    writeConfig(topology, configText(vip));
    const { code, stderr } = await topology.processes.command(argv, { mayFail: true });
    t.equal(code, 1, claim);
    t.ok(stderr.includes('vips[2]: ') && stderr.includes(fault), `${claim}: ${stderr}`);
  }
  t.equal(await kernelState(topology), pristine);
});

t.test('a reload is refused likewise, and what runs goes on', async t => {
  const daemon = startDaemon(topology, configText(HARMLESS));
  await daemon.ready();
  const state = await kernelState(topology);
  for (const [claim, vip, fault] of ROWS) {
    writeConfig(topology, configText(vip));
    const { msg, faults } = await daemon.reload();
    t.equal(msg, 'reload refused', claim);
    t.ok(String(faults).includes('vips[2]: ') && String(faults).includes(fault), `${claim}: ${faults}`);
    t.equal(await kernelState(topology), state, claim);
  }
  writeConfig(topology, configText('198.51.100.0/25'));
  t.equal((await daemon.reload()).msg, 'reloaded');
  t.equal((await daemon.stop()).code, 0);
  t.equal(await kernelState(topology), pristine);
});
