/** Rows of routes and neighbours in, who is pending out; no root needed. */
import t from 'tap';
import { type NeighbourState, type Neighbours, neighbourKey } from '../../host/kernel/neighbour.js';
import { reachOf } from '../../host/kernel/reach.js';
import { parseRoutes } from '../../host/kernel/route.js';
import { target } from './example.js';

const BOTH = target(44, '172.16.1.6', 'fd00:0:0:1::6');

const route4 = (flags: string[] = []) =>
  parseRoutes(4, [{ dst: 'default', gateway: '172.16.1.6', dev: 'c', table: '5044', flags }]);
const route6 = (flags: string[] = []) =>
  parseRoutes(6, [
    { dst: 'default', gateway: 'fd00:0:0:1::6', dev: 'c', table: '5044', metric: 1024, flags },
  ]);
const neighbours = (four: NeighbourState | null, six: NeighbourState | null): Neighbours => {
  const of = (address: string, state: NeighbourState | null) =>
    state === null ? [] : [[neighbourKey({ address, device: 'c' }), state] as const];
  return new Map([...of('172.16.1.6', four), ...of('fd00:0:0:1::6', six)]);
};

const REACHED = {
  families: [4, 6] as const,
  routes: [...route4(), ...route6()],
  neighbours: neighbours('valid', 'valid'),
  refused: new Map<number, string[]>(),
  serving: new Set<number>(),
};

t.test('a target is pending for what is wrong in any of its families', t => {
  const serving = new Set([5044]);
  const rows: [claim: string, reach: Partial<typeof REACHED>, reason: string | null][] = [
    ['both neighbours answer', {}, null],
    ['its link is down', { routes: [...route4(['linkdown']), ...route6()] }, 'link c is down'],
    [
      'a neighbour failed',
      { neighbours: neighbours('valid', 'failed') },
      'neighbour fd00:0:0:1::6 on c does not answer',
    ],
    [
      'a neighbour failed, while it takes traffic',
      { neighbours: neighbours('failed', 'valid'), serving },
      'neighbour 172.16.1.6 on c does not answer',
    ],
    [
      'a new one has not answered yet',
      { neighbours: neighbours('resolving', 'valid') },
      'neighbour 172.16.1.6 on c has not answered yet',
    ],
    [
      'a new one was never asked',
      { neighbours: neighbours(null, 'valid') },
      'neighbour 172.16.1.6 on c has not answered yet',
    ],
    [
      'an entry was forgotten, while it takes traffic',
      { neighbours: neighbours(null, 'valid'), serving },
      null,
    ],
    ['a route is not there', { routes: route4() }, 'IPv6 table 5044 has no route'],
    ['a route was refused', { routes: route6(), refused: new Map([[5044, ['why']]]) }, 'why'],
    [
      'IPv6 is not served',
      { families: [4] as never, routes: route4(), neighbours: neighbours('valid', null) },
      null,
    ],
  ];
  for (const [claim, reach, reason] of rows) {
    const { pending } = reachOf([BOTH], { ...REACHED, ...reach });
    t.same(
      pending.map(target => target.reason),
      reason === null ? [] : [reason],
      claim,
    );
  }
  t.end();
});

t.test('next hops of who is reached, and those that shall be asked for', t => {
  const hop = (family: 4 | 6, address: string) => ({ family, address, device: 'c' });
  t.same(reachOf([BOTH], REACHED).hops, [hop(4, '172.16.1.6'), hop(6, 'fd00:0:0:1::6')]);
  const failed = reachOf([BOTH], { ...REACHED, neighbours: neighbours('valid', 'failed') });
  t.same(failed.hops, []);
  t.same(failed.pending[0]!.unresolved, [hop(6, 'fd00:0:0:1::6')]);
  t.end();
});
