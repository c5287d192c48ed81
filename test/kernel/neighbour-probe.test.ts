/** Neighbours that are asked by unicast, in the kernel: who answers, who does not, and who is left alone. */
import t from 'tap';
import { askForNeighbours, probeNeighbours } from '../../host/kernel/neighbour.js';
import type { NextHop } from '../../host/kernel/wanted.js';
import { type Run, run } from '../../host/programs/command.js';
import { waitFor } from '../../scripts/lab/wait.js';
import { insideNamespace, makeInterfaces, shell } from './namespace.js';

const DEVICE = 'conduit-a--d7c4';
const HOPS: readonly NextHop[] = [
  { family: 4, address: '172.16.0.6', device: DEVICE },
  { family: 6, address: 'fd00::6', device: DEVICE },
];
const WAIT_MS = 60_000;

const stateOf = (address: string) => shell(`ip neigh show to ${address} dev ${DEVICE}`).trim();

if (insideNamespace(import.meta.url)) {
  makeInterfaces();
  shell(
    `ip -n peer addr add 172.16.0.6/24 dev ${DEVICE}; ip -n peer addr add fd00::6/64 dev ${DEVICE} nodad`,
  );
  for (const { address } of HOPS) shell(`ping -c 1 -W 10 ${address}`);
  const reachable = async () =>
    waitFor('both to be reachable', WAIT_MS, () =>
      HOPS.every(({ address }) => stateOf(address).endsWith('REACHABLE')),
    );

  t.test('who answers stays as it is, who has another link-layer address now is told', async t => {
    t.same(await probeNeighbours(run, HOPS, []), []);
    await reachable();
    t.same(await probeNeighbours(run, [], HOPS), [], 'they have answered');
    shell(`ip -n peer link set ${DEVICE} address 02:00:00:00:00:07`);
    await probeNeighbours(run, HOPS, []);
    t.same(await probeNeighbours(run, [], HOPS), HOPS, 'nobody has the former address');
    await waitFor('the kernel to give them up', WAIT_MS, () =>
      HOPS.every(({ address }) => stateOf(address).endsWith('FAILED')),
    );
    t.same(await probeNeighbours(run, HOPS, HOPS), [], 'then it is the kernel that tells');
  });

  t.test('permanent entries, those of other programs, and what is not there are left alone', async t => {
    const entries = [
      '172.16.0.7 nud permanent',
      '172.16.0.8 nud reachable extern_learn',
      '172.16.0.9 nud noarp',
    ];
    for (const entry of entries) {
      const [address, ...words] = entry.split(' ');
      shell(`ip neigh add ${address} dev ${DEVICE} lladdr 02:00:00:00:00:09 ${words.join(' ')}`);
    }
    const hops = ['172.16.0.7', '172.16.0.8', '172.16.0.9', '172.16.0.10', 'fd00::10'].map(address => ({
      family: address.includes(':') ? (6 as const) : (4 as const),
      address,
      device: DEVICE,
    }));
    const before = hops.map(({ address }) => stateOf(address));
    t.same(await probeNeighbours(run, hops, []), []);
    t.same(
      hops.map(({ address }) => stateOf(address)),
      before,
    );
  });

  t.test('a router stays one', async t => {
    shell(`ip neigh replace fd00::7 dev ${DEVICE} lladdr 02:00:00:00:00:09 nud stale router`);
    await probeNeighbours(run, [{ family: 6, address: 'fd00::7', device: DEVICE }], []);
    t.match(stateOf('fd00::7'), /router PROBE/);
  });

  t.test(
    'the kernel refuses some lines: ip ends at each, and those after it are run all the same',
    async t => {
      shell(`sysctl -qw net.ipv6.conf.ext-vlan0.disable_ipv6=1`);
      const ask = (address: string, device = DEVICE): NextHop => ({ family: 6, address, device });
      const refusals = await askForNeighbours(run, [
        ask('fd00::21'),
        ask('100:100::1', 'ext-vlan0'),
        ask('fd00::22'),
        ask('fd00::23'),
        ask('100:100::2', 'ext-vlan0'),
        ask('fd00::24'),
      ]);
      t.match(refusals, [/100:100::1 .*IPv6 is disabled/, /100:100::2 .*IPv6 is disabled/]);
      t.equal(refusals.length, 2);
      for (const last of [1, 2, 3, 4]) t.not(stateOf(`fd00::2${last}`), '', `fd00::2${last} was asked for`);
      const many = Array.from({ length: 40 }, (_, index) => ask(`100:100::${index + 1}`, 'ext-vlan0'));
      t.equal((await askForNeighbours(run, many)).length, 40, 'where it refuses all, all are named');
    },
  );

  t.test('an entry that goes while it is probed keeps no other one from being asked', async t => {
    for (const last of [31, 32])
      shell(`ip neigh replace 172.16.0.${last} dev ${DEVICE} lladdr 02:00:00:00:00:09 nud stale`);
    const hops = [31, 32].map(last => ({ family: 4 as const, address: `172.16.0.${last}`, device: DEVICE }));
    const racing: Run = async (program, args, options) => {
      if (args.includes('-batch') && stateOf('172.16.0.31') !== '')
        shell(`ip neigh del 172.16.0.31 dev ${DEVICE}`);
      return run(program, args, options);
    };
    t.same(await probeNeighbours(racing, hops, []), []);
    t.match(stateOf('172.16.0.32'), /PROBE/);
  });
}
