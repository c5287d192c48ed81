/** Rows of configurations and idle targets in, announced VIPs out. */
import t from 'tap';
import { prefixText } from '../../host/config/address.js';
import { loadConfig } from '../../host/config/load.js';
import { announcedVips, checkedTargets, commonVips, wayKey } from '../../host/daemon/serving.js';

const config = loadConfig(
  `
vips: [20.0.0.1/32, 20.0.1.0/24, "2000::1/128"]
streams:
  - name: a
    maxTargets: 10
    healthCheck: {type: tcp, port: 80}
    targets: [{identifier: 1, ips: [172.16.0.1, "fd00::1"]}, {identifier: 2, ips: [172.16.0.2, "fd00::2"]}]
  - name: b
    maxTargets: 10
    healthCheck: {type: icmp}
    targets: [{identifier: 1, ips: [172.16.0.9]}]
  - {name: empty}
flows:
  - {name: one, stream: a, priority: 1, vips: [20.0.0.1/32, "2000::1/128"]}
  - {name: part, stream: b, priority: 1, vips: [20.0.1.128/25]}
  - {name: none, stream: empty, priority: 9, vips: [20.0.0.1/32]}
`,
  'config.yaml',
);

t.test('a VIP is announced while one target of a stream that serves it takes traffic', t => {
  const rows: [claim: string, idle: number[], vips: string[]][] = [
    ['all are there', [], ['20.0.0.1/32', '20.0.1.0/24', '2000::1/128']],
    ['one of two is there', [5001], ['20.0.0.1/32', '20.0.1.0/24', '2000::1/128']],
    ['none of a stream is there', [5001, 5002], ['20.0.1.0/24']],
    ['a flow within a VIP counts', [5011], ['20.0.0.1/32', '2000::1/128']],
    ['nobody', [5001, 5002, 5011], []],
  ];
  for (const [claim, idle, vips] of rows)
    t.same(announcedVips(config, new Set(idle)).map(prefixText), vips, claim);
  t.end();
});

t.test('a flow for all of IPv6 serves IPv4 too, one for all of IPv4 does not serve IPv6', t => {
  const announced = (vip: string) =>
    announcedVips(
      { ...config, flows: config.flows.slice(0, 1).map(flow => ({ ...flow, vips: [everything(vip)] })) },
      new Set(),
    ).map(prefixText);
  const everything = (text: string) => ({
    family: text === '::/0' ? (6 as const) : (4 as const),
    address: text.split('/')[0]!,
    length: 0,
  });
  t.same(announced('::/0'), ['20.0.0.1/32', '20.0.1.0/24', '2000::1/128']);
  t.same(announced('0.0.0.0/0'), ['20.0.0.1/32', '20.0.1.0/24']);
  t.end();
});

t.test('VIPs that two configurations have in common', t => {
  t.same(commonVips(config.vips, config.vips.slice(1, 2)).map(prefixText), ['20.0.1.0/24']);
  t.end();
});

t.test('tcp asks the VIPs, which targets have as their own, icmp the targets themselves', t => {
  const text = (key: string) =>
    checkedTargets(config)
      .find(target => target.key === key)!
      .asked.map(({ address }) => address)
      .join(' ');
  t.equal(text('a/1'), '20.0.0.1 2000::1');
  t.equal(text('a/2'), '20.0.0.1 2000::1');
  t.equal(text('b/1'), '172.16.0.9');
  t.end();
});

t.test('a target with another address is reached in another way', t => {
  const [target] = config.streams[0]!.targets;
  t.equal(wayKey(target!), wayKey({ ...target!, identifier: 7 }));
  t.not(wayKey(target!), wayKey({ ...target!, ips: target!.ips.slice(0, 1) }));
  t.end();
});
