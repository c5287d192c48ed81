import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { applySysctls, ipv6State } from '../../host/kernel/sysctl.js';

/** A tree like /proc/sys. */
function tree(rpFilter: string) {
  return {
    net: {
      ipv4: {
        ip_forward: '0\n',
        fib_multipath_hash_policy: '1\n',
        fib_multipath_use_neigh: '0\n',
        fwmark_reflect: '0\n',
        conf: {
          all: { forwarding: '1\n', rp_filter: '0\n', send_redirects: '1\n', arp_notify: '0\n' },
          default: { rp_filter: rpFilter, send_redirects: '1\n', arp_notify: '0\n' },
          eth0: { rp_filter: rpFilter, send_redirects: '0\n', arp_notify: '0\n' },
        },
      },
      ipv6: {
        conf: {
          all: { forwarding: '0\n', ndisc_notify: '0\n' },
          default: { ndisc_notify: '0\n' },
          eth0: { ndisc_notify: '0\n' },
        },
        fib_multipath_hash_policy: '0\n',
        fwmark_reflect: '0\n',
      },
    },
  };
}

t.test('what differs is written, for every interface', async t => {
  const root = t.testdir(tree('2\n'));
  const { warnings, changes } = await applySysctls('enabled', root);
  t.same(warnings, []);
  t.ok(changes.includes('sysctl net/ipv4/ip_forward from 0 to 1'));
  t.same((await applySysctls('enabled', root)).changes, [], 'and then there is nothing to change');
  for (const [path, value] of [
    ['ipv4/ip_forward', '1'],
    ['ipv4/fib_multipath_hash_policy', '1\n'],
    ['ipv4/fib_multipath_use_neigh', '1'],
    ['ipv4/conf/all/rp_filter', '0\n'],
    ['ipv4/conf/eth0/rp_filter', '0'],
    ['ipv4/conf/default/rp_filter', '0'],
    ['ipv4/conf/all/send_redirects', '0'],
    ['ipv4/conf/eth0/send_redirects', '0\n'],
    ['ipv4/conf/default/send_redirects', '0'],
    ['ipv4/conf/eth0/arp_notify', '1'],
    ['ipv6/conf/all/forwarding', '1'],
    ['ipv6/conf/default/ndisc_notify', '1'],
    ['ipv6/conf/eth0/ndisc_notify', '1'],
    ['ipv6/fwmark_reflect', '1'],
  ] as const) {
    t.equal(readFileSync(join(root, 'net', path), 'utf8'), value, path);
  }
});

t.test('without IPv6 there is one warning and IPv4 goes on', async t => {
  const root = t.testdir(tree('1\n'));
  rmSync(join(root, 'net/ipv6'), { recursive: true });
  t.match((await applySysctls(await ipv6State(root), root)).warnings, [/no IPv6/]);
  t.equal(readFileSync(join(root, 'net/ipv4/ip_forward'), 'utf8'), '1');
});

t.test('a setting that this kernel lacks is named', async t => {
  const root = t.testdir(tree('0\n'));
  rmSync(join(root, 'net/ipv4/fwmark_reflect'));
  t.match((await applySysctls('enabled', root)).warnings, [
    /net\/ipv4\/fwmark_reflect cannot be read, 1 is wanted/,
  ]);
});

t.test('IPv6 is disabled where no interface has it', async t => {
  const state = (disabled: Record<string, 0 | 1>) => {
    const entries = Object.entries(disabled).map(([name, value]) => [name, { disable_ipv6: `${value}\n` }]);
    return ipv6State(t.testdir({ net: { ipv6: { conf: Object.fromEntries(entries) } } }));
  };
  t.equal(await state({ all: 1, default: 1, lo: 0, eth0: 1 }), 'disabled');
  t.equal(await state({ all: 1, default: 1, lo: 1, eth0: 1, eth1: 0 }), 'enabled');
  t.equal(await state({ all: 0, eth0: 1 }), 'enabled');
  t.equal(await ipv6State(t.testdir({})), 'absent');
  const root = t.testdir(tree('0\n'));
  t.match((await applySysctls('disabled', root)).warnings, [/all.disable_ipv6 is 1\): IPv4 alone is served/]);
  t.equal(readFileSync(join(root, 'net/ipv6/conf/all/forwarding'), 'utf8'), '0\n');
});
