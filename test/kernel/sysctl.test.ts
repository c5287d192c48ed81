import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { applySysctls } from '../../host/kernel/sysctl.js';

/** A tree like /proc/sys. */
function tree(rpFilter: string) {
  return {
    net: {
      ipv4: {
        ip_forward: '0\n',
        fib_multipath_hash_policy: '1\n',
        fwmark_reflect: '0\n',
        conf: { all: { rp_filter: '0\n' }, default: { rp_filter: rpFilter }, eth0: { rp_filter: rpFilter } },
      },
      ipv6: { conf: { all: { forwarding: '0\n' } }, fib_multipath_hash_policy: '0\n', fwmark_reflect: '0\n' },
    },
  };
}

t.test('what differs is written, for every interface', async t => {
  const root = t.testdir(tree('2\n'));
  t.same(await applySysctls(root), []);
  for (const [path, value] of [
    ['ipv4/ip_forward', '1'],
    ['ipv4/fib_multipath_hash_policy', '1\n'],
    ['ipv4/conf/all/rp_filter', '0\n'],
    ['ipv4/conf/eth0/rp_filter', '0'],
    ['ipv4/conf/default/rp_filter', '0'],
    ['ipv6/conf/all/forwarding', '1'],
    ['ipv6/fwmark_reflect', '1'],
  ] as const) {
    t.equal(readFileSync(join(root, 'net', path), 'utf8'), value, path);
  }
});

t.test('without IPv6 there is one warning and IPv4 goes on', async t => {
  const root = t.testdir(tree('1\n'));
  rmSync(join(root, 'net/ipv6'), { recursive: true });
  t.match(await applySysctls(root), [/no IPv6/]);
  t.equal(readFileSync(join(root, 'net/ipv4/ip_forward'), 'utf8'), '1');
});

t.test('a setting that this kernel lacks is named', async t => {
  const root = t.testdir(tree('0\n'));
  rmSync(join(root, 'net/ipv4/fwmark_reflect'));
  t.match(await applySysctls(root), [/net\/ipv4\/fwmark_reflect cannot be read, 1 is wanted/]);
});
