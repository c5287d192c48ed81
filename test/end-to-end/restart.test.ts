/** What is lost when the daemon is killed and a supervisor starts it again at once: measured, and printed. */
import t from 'tap';
import { UDP_PORT, VIP } from '../../scripts/lab/plan.js';
import { Topology } from '../../scripts/lab/topology.js';
import { leeway } from '../../scripts/lab/wait.js';
import { startDaemon } from './lab.js';
import { LOAD_PORT, Load } from './load.js';

const PER_SECOND = 2000;
const ROUNDS = 5;
/** On an idle machine. */
const LIMIT_MS = 2000;

/** A static gateway: with BGP the gateway sends elsewhere meanwhile, as withdrawal.test.ts measures. */
const text = `
interfaces: {external: ext-vlan0, internal: ["conduit-a-*"]}
vips: [${VIP[4]}/32, "${VIP[6]}/128"]
gateways:
  - {name: g, protocol: static, ips: [169.254.100.150, "100:100::150"]}
streams:
  - name: s
    targets:
      - {identifier: 69, ips: [172.16.0.6, "fd00::6"]}
      - {identifier: 62, ips: [172.16.0.8, "fd00::8"]}
      - {identifier: 44, ips: [172.16.1.6, "fd00:0:0:1::6"]}
      - {identifier: 73, ips: [172.16.1.8, "fd00:0:0:1::8"]}
flows:
  - {name: f, stream: s, priority: 1, protocols: [udp], vips: [${VIP[4]}/32, "${VIP[6]}/128"], destinationPortRanges: ["${UDP_PORT}-${LOAD_PORT}"]}
`;

t.setTimeout(300_000);
const topology = Topology.reserve();
t.teardown(() => topology.destroy());
await topology.create();
let daemon = startDaemon(topology, text);
await daemon.ready();

t.test('after SIGKILL and a restart at once', async t => {
  const gaps: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const load = await Load.start(topology, [VIP], PER_SECOND);
    daemon.signal('SIGKILL');
    await daemon.ended();
    const began = performance.now();
    daemon = startDaemon(topology, text);
    await daemon.ready();
    const ready = performance.now() - began;
    const { lost, perSecond } = await load.stop();
    gaps.push((1000 * lost) / perSecond);
    t.comment(
      `${lost} datagrams lost at ${perSecond} a second: ${gaps.at(-1)!.toFixed(0)} ms without answer; ` +
        `ready ${ready.toFixed(0)} ms after the start`,
    );
  }
  const median = gaps.toSorted((one, other) => one - other)[gaps.length >> 1]!;
  t.comment(`median gap ${median.toFixed(0)} ms`);
  t.ok(median < LIMIT_MS * (await leeway()));
  t.equal((await daemon.stop()).code, 0);
});
