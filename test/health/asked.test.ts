import t from 'tap';
import { askedHosts } from '../../host/health/asked.js';
import type { HealthCheck, Host, PortNat } from '../../host/types/config.js';
import { configOf, flowOf, prefixOf, streamOf } from '../fixture/config.js';

const IPS: readonly Host[] = [
  { family: 4, address: '172.16.1.6' },
  { family: 6, address: 'fd00:0:0:1::6' },
];

function asked(
  type: HealthCheck['type'],
  vips: readonly string[],
  portNats: readonly PortNat[] = [],
  ips = IPS,
): string[] {
  const port = type === 'icmp' ? null : 8080;
  const path = type === 'http' ? '/' : null;
  const check: HealthCheck = { type, port, path, intervalMs: 1000, timeoutMs: 500, rise: 2, fall: 3 };
  const stream = { ...streamOf('a', 100, {}), healthCheck: check };
  const flows = [
    flowOf('other', 'b', { vips: [prefixOf('30.0.0.1/32'), prefixOf('3000::1/128')] }),
    flowOf('own', 'a', { vips: vips.map(prefixOf) }),
  ];
  const config = configOf({ streams: [stream], flows, portNats });
  return askedHosts(config, stream, { identifier: 1, fwmark: 5001, ips }).map(({ address }) => address);
}

const nat = (port: number, targetPort: number, ...vips: string[]): PortNat => ({
  port,
  targetPort,
  protocol: 'tcp',
  vips: vips.map(prefixOf),
});

t.test("icmp asks the target's own addresses, never a VIP", async t => {
  t.strictSame(asked('icmp', ['20.0.0.1/32', '2000::1/128']), ['172.16.1.6', 'fd00:0:0:1::6']);
});

t.test("tcp and http ask a VIP of the stream's flows in each family of the target", async t => {
  t.strictSame(asked('tcp', ['20.0.0.1/32', '2000::1/128']), ['20.0.0.1', '2000::1']);
  t.strictSame(asked('http', ['20.0.0.1/32', '2000::1/128'], [], IPS.slice(1)), ['2000::1']);
  t.strictSame(asked('tcp', ['20.0.0.0/24', '2000::/64']), ['20.0.0.0', '2000::'], 'of a prefix the first');
});

t.test("a family without a VIP is asked at the target's own address", async t => {
  t.strictSame(asked('tcp', ['20.0.0.1/32']), ['20.0.0.1', 'fd00:0:0:1::6']);
});

t.test('a VIP whose answers are translated is passed over', async t => {
  const vips = ['20.0.0.1/32', '20.0.0.2/32', '2000::1/128'];
  t.strictSame(asked('tcp', vips, [nat(80, 8080, '20.0.0.1/32')]), ['20.0.0.2', '2000::1']);
  t.strictSame(asked('tcp', vips, [nat(80, 8080, '20.0.0.0/24')]), ['172.16.1.6', '2000::1']);
  t.strictSame(asked('tcp', vips, [nat(8080, 90, '20.0.0.1/32')]), ['20.0.0.1', '2000::1'], 'another port');
  const udp: PortNat = { ...nat(80, 8080, '20.0.0.1/32'), protocol: 'udp' };
  t.strictSame(asked('tcp', vips, [udp]), ['20.0.0.1', '2000::1'], 'another protocol');
});
