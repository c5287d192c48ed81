/** Neighbours that are asked by unicast, in the kernel: who answers, who does not, and who is left alone. */
import t from 'tap';
import { probeNeighbours } from '../../host/kernel/neighbour.js';
import type { NextHop } from '../../host/kernel/wanted.js';
import { run } from '../../host/programs/command.js';
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
}
