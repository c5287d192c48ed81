/** What the gateways are told, without BIRD and without a kernel. */
import t from 'tap';
import { prefixText } from '../../host/config/address.js';
import { loadConfig } from '../../host/config/load.js';
import { Service } from '../../host/daemon/service.js';
import { Warnings } from '../../host/daemon/warnings.js';
import type { Prefix } from '../../host/types/config.js';

const config = loadConfig(
  `
vips: [20.0.0.1/32, 20.0.0.2/32, 20.0.0.3/32]
streams:
  - {name: a, targets: [{identifier: 1, ips: [172.16.0.1]}]}
  - {name: empty}
flows:
  - {name: one, stream: a, priority: 1, vips: [20.0.0.1/32, 20.0.0.2/32]}
  - {name: none, stream: empty, priority: 1, vips: [20.0.0.3/32]}
`,
  'config.yaml',
);
const [first, second, unserved] = config.vips as [Prefix, Prefix, Prefix];

t.test('what nobody serves is withdrawn out of turn, and nothing is announced', async t => {
  const told: string[] = [];
  const announce = async (vips: readonly Prefix[]) => void told.push(vips.map(prefixText).join(' '));
  const service = new Service({
    log: { info() {}, warn() {} } as never,
    images: { current: { config } } as never,
    frontend: { announce } as never,
    warnings: { find() {} },
    addresses: [],
    onHealth() {},
  });
  t.teardown(() => service.health.stop());
  service.announced = [first, unserved];
  await service.withdrawUnserved();
  t.same(told, ['20.0.0.1/32']);
  t.same(service.announced, [first], `${prefixText(second)} is served too, and waits for its turn`);
  await service.withdrawUnserved();
  t.equal(told.length, 1, 'where all are served nobody is told');
  const lost = { reason: '20.0.0.1 is an address of lo', remedy: 'remove it' };
  service.lost = [{ vip: first, whole: false, ...lost }];
  await service.withdrawUnserved();
  t.equal(told.length, 1, 'a VIP that is lost in part stays announced');
  service.lost = [{ vip: first, whole: true, ...lost }];
  await service.withdrawUnserved();
  t.same(told, ['20.0.0.1/32', ''], 'one that receives no traffic is withdrawn');
  await service.announceServed();
  t.equal(told.at(-1), '20.0.0.2/32', 'and not announced again');
  service.lost = [];
  await service.announceServed();
  t.equal(told.at(-1), '20.0.0.1/32 20.0.0.2/32', 'until it is lost no more');
});

t.test('what is to be told of an image is a warning until the next one, and logged once', async t => {
  const logged: string[] = [];
  const warnings = new Warnings({ warn: (line: string) => void logged.push(line) } as never);
  const ofImages = [['slow'], ['slow'], []];
  const service = new Service({
    log: { info() {}, warn() {} } as never,
    images: { retire: async () => {}, publish: () => ({ warnings: ofImages.shift() }) } as never,
    frontend: {} as never,
    warnings,
    addresses: [],
    onHealth() {},
  });
  t.teardown(() => service.health.stop());
  for (const lines of [['slow'], ['slow'], []]) {
    await service.publish(config, []);
    warnings.tell(config);
    t.strictSame(warnings.lines, lines);
  }
  t.strictSame(logged, ['slow']);
});

t.test('a refusal that was told in the log already stands first among the warnings', t => {
  const logged: string[] = [];
  const warnings = new Warnings({ warn: (line: string) => void logged.push(line) } as never);
  warnings.find({ refused: ['refused'], kept: ['not kept'] });
  warnings.tell(config);
  t.strictSame(warnings.lines, ['refused', 'not kept']);
  t.strictSame(logged, ['not kept']);
  t.end();
});
