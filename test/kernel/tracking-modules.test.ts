/** Rules of iptables' modules, as this machine's nft and iptables print them: whoever tracks connections by one is found. */
import { listTrackingRules } from '../../host/kernel/tracking.js';
import { run } from '../../host/programs/command.js';
import { insideNamespace, shell } from './namespace.js';

const TRACKING = [
  '-t mangle -A PREROUTING -m conntrack --ctstate NEW',
  '-t mangle -A PREROUTING -m state --state NEW',
  '-t mangle -A PREROUTING -m socket --transparent -j ACCEPT',
  '-t mangle -A PREROUTING -m connlimit --connlimit-above 3 -j ACCEPT',
  '-t mangle -A PREROUTING -m connbytes --connbytes 1:2 --connbytes-dir both --connbytes-mode bytes',
  '-t mangle -A PREROUTING -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1',
  '-t mangle -A PREROUTING -m helper --helper ftp -j ACCEPT',
  '-t mangle -A PREROUTING -p tcp -j TPROXY --on-port 33 --tproxy-mark 1',
  '-t mangle -A PREROUTING -j CONNMARK --save-mark',
  '-t raw -A PREROUTING -j CT --zone 3',
  '-t nat -A PREROUTING -j NETMAP --to 10.0.0.0/8',
  '-t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 80',
  '-t nat -A POSTROUTING -j MASQUERADE',
];
const OTHERS = [
  '-t mangle -A PREROUTING -m rpfilter',
  '-t mangle -A PREROUTING -m recent --set',
  '-t mangle -A PREROUTING -m addrtype --dst-type LOCAL -j ACCEPT',
  '-t mangle -A PREROUTING -m comment --comment "xt match socket, ct state" -j ACCEPT',
  '-t raw -A PREROUTING -j CT --notrack',
];

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  for (const program of ['iptables-nft', 'iptables-legacy'])
    t.test(`${program}: each rule that tracks connections is found, and no other`, async t => {
      let known = 0;
      for (const [rules, found] of [
        [TRACKING, 1],
        [OTHERS, 0],
      ] as const)
        for (const rule of rules) {
          try {
            shell(`${program} ${rule}`);
          } catch {
            t.comment(`not here: ${rule}`);
            continue;
          }
          known++;
          t.equal((await listTrackingRules(run)).length, found, rule);
          shell(`${program} ${rule.replace('-A', '-D')}`);
        }
      // Kernels lack some modules; with none of them nothing would be proven. Those without iptables-legacy have no such rules.
      if (known === 0 && program === 'iptables-legacy')
        t.skip('this kernel has no iptables-legacy', async () => {});
      else t.ok(known > 3, `${known} rules`);
    });

  t.test('a rule in a chain without a name is found', async t => {
    shell(
      'nft "table inet t { chain c { type filter hook input priority 0; tcp dport 80 jump { ct state new accept; }\n }; }"',
    );
    t.strictSame(await listTrackingRules(run), [
      { place: 'table inet t, chain c', rule: 'ct state new accept' },
    ]);
    shell('nft delete table inet t');
  });
}
