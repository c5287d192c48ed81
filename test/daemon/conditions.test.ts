import t from 'tap';
import { type Facts, judgeAlive, judgeReady } from '../../host/daemon/conditions.js';

const bound = { queue: 0, bound: true, unboundMs: 0 };
const GATEWAYS = { birdUp: true, sessions: 2, sessionsUp: 1, fixed: 0, fixedUp: 0, announced: 1 };
const STATIC = { ...GATEWAYS, sessions: 0, sessionsUp: 0, fixed: 2, fixedUp: 1 };
const READY: Facts = {
  queues: [bound, { ...bound, queue: 1 }],
  kernelFault: null,
  passage: [],
  targets: { all: 4, active: 1 },
  gateways: GATEWAYS,
  vips: { all: 2, lost: [] },
  hanging: [],
  stopping: false,
};

t.test('ready takes workers, rules, one target, and gateways that are told of a VIP', t => {
  t.equal(judgeReady(READY).ok, true);
  t.equal(judgeReady({ ...READY, gateways: null }).ok, true, 'no gateways are configured');
  const rows: [claim: string, facts: Partial<Facts>, condition: string][] = [
    ['a worker is dead', { queues: [bound, { queue: 1, bound: false, unboundMs: 1 }] }, 'workers'],
    ['the kernel could not be compared', { kernelFault: 'nft list tables: exit code 1' }, 'ruleset'],
    ['no target takes traffic', { targets: { all: 4, active: 0 } }, 'targets'],
    ['there is no target', { targets: { all: 0, active: 0 } }, 'targets'],
    ['BIRD does not run', { gateways: { ...GATEWAYS, birdUp: false } }, 'announced'],
    ['no session is up', { gateways: { ...GATEWAYS, sessionsUp: 0 } }, 'announced'],
    ['no VIP is served', { gateways: { ...GATEWAYS, announced: 0 } }, 'announced'],
    ['no static gateway answers', { gateways: { ...STATIC, fixedUp: 0 } }, 'announced'],
    [
      'a static gateway takes no announcement',
      { gateways: { ...GATEWAYS, sessionsUp: 0, fixed: 1, fixedUp: 1 } },
      'announced',
    ],
    [
      'all VIPs are addresses of this host',
      { vips: { all: 1, lost: [{ vip: '20.0.0.1/32', reason: '20.0.0.1 is an address of lo' }] } },
      'vips',
    ],
    ['it is stopping', { stopping: true }, 'running'],
  ];
  for (const [claim, facts, condition] of rows) {
    const { ok, conditions } = judgeReady({ ...READY, ...facts });
    t.equal(ok, false, claim);
    t.strictSame(
      conditions.filter(each => !each.ok).map(({ name }) => name),
      [condition],
      claim,
    );
  }
  t.end();
});

t.test('the detail says what is announced, and that nothing is to a static gateway', t => {
  const detail = (gateways: Facts['gateways']) =>
    judgeReady({ ...READY, gateways }).conditions.find(({ name }) => name === 'announced')!.detail;
  t.equal(detail(GATEWAYS), '1 VIP is announced, 1 of 2 sessions with gateways is up');
  t.equal(
    detail({ ...GATEWAYS, announced: 4, sessionsUp: 2, fixed: 1, fixedUp: 1 }),
    '4 VIPs are announced, 2 of 2 sessions with gateways are up, 1 of 1 address of static gateways reachable',
  );
  t.equal(detail(STATIC), 'no gateway needs announcements: 2 addresses of static gateways, 1 reachable');
  t.equal(judgeReady({ ...READY, gateways: { ...STATIC, announced: 0 } }).ok, true, 'whatever is served');
  t.end();
});

t.test('alive ends with a worker that does not come back', t => {
  t.equal(judgeAlive(READY).ok, true);
  t.equal(
    judgeAlive({ queues: [{ queue: 0, bound: false, unboundMs: 2000 }] }).ok,
    true,
    'it is being restarted',
  );
  t.match(judgeAlive({ queues: [bound, { queue: 7, bound: false, unboundMs: 10_001 }] }), {
    ok: false,
    conditions: [{ name: 'workers', detail: 'for more than 10 s no worker has served queue 7' }],
  });
  t.end();
});
