/** Events in, looks and questions out: when the kernel is looked at again. */
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import t from 'tap';
import { Keeper } from '../../host/daemon/keeper.js';
import type { KernelEvent, MonitorOptions } from '../../host/kernel/monitor.js';
import type { NextHop } from '../../host/kernel/wanted.js';
import { addressKey } from '../../host/types/address.js';

const HOP: NextHop = { family: 4, address: '172.16.0.6', device: 'c' };
const OTHER: NextHop = { family: 4, address: '172.16.0.8', device: 'c' };

type Neighbour = Extract<KernelEvent, { kind: 'neighbour' }>;
const neighbour = (
  address: string,
  state: Neighbour['state'],
  linkAddress: string | null = null,
): Neighbour => ({
  kind: 'neighbour',
  address: addressKey(address),
  state,
  linkAddress,
  permanent: false,
});

function started(check: () => Promise<void> = async () => {}) {
  const seen = {
    looks: 0,
    reviews: 0,
    asked: [] as string[],
    restored: [] as string[],
    askedAnew: [] as string[],
    foreign: 0,
  };
  let monitor: MonitorOptions | null = null;
  const keeper = new Keeper({
    log: pino({ level: 'silent' }),
    check: async () => {
      seen.looks++;
      await check();
    },
    ask: async hops => void seen.asked.push(...hops.map(hop => hop.address)),
    verify: async () => {},
    restore: async hops => void seen.restored.push(...hops.map(hop => hop.address)),
    askAnew: async hops => void seen.askedAnew.push(...hops.map(hop => hop.address)),
    reviewMain: async () => void seen.reviews++,
    onForeign: () => void seen.foreign++,
    monitor: options => {
      monitor = options;
      return { stop: async () => {} };
    },
  });
  keeper.start();
  keeper.keep({ pending: [], hops: [HOP], tables: new Set([5044, 4097]) });
  t.teardown(() => keeper.stop());
  return { keeper, seen, event: (event: KernelEvent) => monitor!.onEvent(event) };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 2000) throw new Error(`not so after 10 s: ${what}`);
    await delay(5);
  }
}

t.test(
  "changes of main's routes that come together have it review them once, and look at nothing else",
  async t => {
    const { seen, event, keeper } = started();
    for (let n = 0; n < 1000; n++) event({ kind: 'routes', table: null, direct: false });
    await until('a review', () => seen.reviews > 0);
    event({ kind: 'routes', table: 77, direct: false });
    event({ kind: 'routes', table: null, direct: false });
    await until('another', () => seen.reviews > 1);
    t.equal(seen.reviews, 2);
    t.equal(seen.looks, 0);
    await keeper.stop();
  },
);

t.test('what concerns this daemon has it look; what does not, has not', async t => {
  const rows: [claim: string, event: KernelEvent, looks: boolean][] = [
    ['a link', { kind: 'links' }, true],
    ['a rule', { kind: 'rules' }, true],
    ['our tables of nftables', { kind: 'ruleset' }, true],
    ['lost events', { kind: 'lost' }, true],
    ["a target's route", { kind: 'routes', table: 5044, direct: false }, true],
    ["another's route", { kind: 'routes', table: 77, direct: false }, false],
    ["BIRD's route", { kind: 'routes', table: 4096, direct: false }, false],
    ["main's route, while nobody waits for one", { kind: 'routes', table: null, direct: false }, false],
    [
      "main's direct route, which may tell who is on-link",
      { kind: 'routes', table: null, direct: true },
      true,
    ],
    ["a target's neighbour entry that failed", neighbour('172.16.0.6', 'failed'), true],
    ["a stranger's neighbour entry that failed", neighbour('172.16.0.99', 'failed'), false],
    [
      "a target's neighbour entry that was confirmed",
      neighbour('172.16.0.6', 'valid', '02:00:00:00:00:01'),
      false,
    ],
  ];
  for (const [claim, event, looks] of rows) {
    const { seen, event: send, keeper } = started();
    send(event);
    if (looks) await until(claim, () => seen.looks === 1);
    else {
      // A look that has a reason follows at once: that of another event shows that this one was none.
      send({ kind: 'lost' });
      await until(claim, () => seen.looks === 1);
      await delay(50);
    }
    t.equal(seen.looks, 1, claim);
    await keeper.stop();
  }
});

t.test('events that come while it looks have it look once more', async t => {
  let finish = (): void => {};
  const { seen, event } = started(() => new Promise(resolve => (finish = resolve)));
  event({ kind: 'links' });
  await until('the first look', () => seen.looks === 1);
  for (let n = 0; n < 100; n++) event({ kind: 'links' });
  finish();
  await until('the second look', () => seen.looks === 2);
  finish();
  await delay(400);
  t.equal(seen.looks, 2);
});

t.test('a look that failed is taken again', async t => {
  let failures = 1;
  const { seen, event } = started(async () => {
    if (failures-- > 0) throw new Error('no');
  });
  event({ kind: 'links' });
  await until('the second look', () => seen.looks === 2);
  t.pass();
});

t.test(
  'neighbours that are waited for are asked again and again, and looked at when they answer',
  async t => {
    const { keeper, seen, event } = started();
    const pending = [
      { fwmark: 5062, label: 's/62', cause: 'neighbour' as const, reason: 'failed', unresolved: [OTHER] },
    ];
    keeper.keep({ pending, hops: [HOP], tables: new Set([5044]) });
    await until('it is asked twice', () => seen.asked.length >= 2);
    t.same(new Set(seen.asked), new Set([OTHER.address]));
    event(neighbour(OTHER.address, 'resolving'));
    event(neighbour(OTHER.address, 'valid', '02:00:00:00:00:02'));
    await until('a look', () => seen.looks === 1);
    keeper.keep({ pending: [], hops: [HOP, OTHER], tables: new Set([5044]) });
    const count = seen.asked.length;
    await delay(700);
    t.equal(seen.asked.length, count, 'who answered is asked no more');
  },
);

t.test('what is told of a neighbour while the kernel is listed is not lost', async t => {
  const pending = [
    { fwmark: 5062, label: 's/62', cause: 'neighbour' as const, reason: 'failed', unresolved: [OTHER] },
  ];
  const rows = [
    ['one that is found pending answered meanwhile', OTHER, 'valid', { pending, hops: [] }],
    ['one that is found to be reached failed meanwhile', OTHER, 'failed', { pending: [], hops: [OTHER] }],
  ] as const;
  for (const [claim, hop, state, found] of rows) {
    const { keeper, seen, event } = started();
    event(neighbour(hop.address, state, state === 'valid' ? '02:00:00:00:00:02' : null));
    keeper.keep({ ...found, tables: new Set([5044]) });
    await until(claim, () => seen.looks === 1);
    keeper.keep({ ...found, tables: new Set([5044]) });
    await delay(400);
    t.equal(seen.looks, 1, claim);
    await keeper.stop();
  }
});

t.test('an entry that somebody removed is asked for', async t => {
  const { seen, event } = started();
  event(neighbour('172.16.0.99', 'gone'));
  event(neighbour(HOP.address, 'gone'));
  await until('it is asked for', () => seen.restored.length > 0);
  t.same(seen.restored, [HOP.address]);
});

t.test('a change that comes too soon after a verification is verified when it may be', async t => {
  const { seen, event } = started();
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:01'));
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:aa'));
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:01'));
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:bb'));
  t.same(seen.askedAnew, [HOP.address], 'once at first');
  await until('it is asked for once more', () => seen.askedAnew.length === 2);
});

t.test('another link-layer address is verified, once', async t => {
  const { seen, event } = started();
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:01'));
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:01'));
  t.same(seen.askedAnew, []);
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:ff'));
  await until('it is asked for anew', () => seen.askedAnew.length === 1);
  event(neighbour(HOP.address, 'valid', '02:00:00:00:00:01'));
  t.same(seen.askedAnew, [HOP.address], 'what the answer brings is not verified again');
});

t.test('a gateway that does not answer is asked for, and what becomes of it is a reason to look', async t => {
  const { seen, event, keeper } = started();
  const gateway = { family: 4, address: '169.254.100.150', device: 'ext-vlan0' } as const;
  const keep = (state: 'valid' | 'failed') =>
    keeper.keep({ pending: [], hops: [], tables: new Set(), gateways: [{ ...gateway, state }] });
  keep('valid');
  event(neighbour(gateway.address, 'valid'));
  event(neighbour(gateway.address, 'resolving'));
  await delay(100);
  t.equal(seen.looks, 0, 'nothing new');
  event(neighbour(gateway.address, 'failed'));
  await until('a look', () => seen.looks === 1);
  t.strictSame(seen.asked, []);
  keep('failed');
  await until('it is asked for', () => seen.asked.length > 0);
  t.strictSame(seen.asked[0], gateway.address);
  event(neighbour(gateway.address, 'failed'));
  event(neighbour(gateway.address, 'valid'));
  await until('a look at its return', () => seen.looks === 2);
});

t.test("links and rules that change have nobody list other programs' nftables rules", async t => {
  const { keeper, seen, event } = started();
  for (const kind of ['links', 'rules', 'settings'] as const) event({ kind });
  t.equal(seen.foreign, 0);
  for (const kind of ['foreign', 'ruleset', 'lost'] as const) event({ kind });
  t.equal(seen.foreign, 3);
  await keeper.stop();
});
