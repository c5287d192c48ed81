/** Fragments that follow their first: a worker's turns, played by the test. */
import t from 'tap';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { be16, icmp, ip, TCP, transport, UDP } from '../fixture/packet.js';
import { ACCEPT, DROP, HOLD, TIMEOUT_MS, Turns } from '../fixture/turns.js';

const CLIENTS = { 4: '192.0.2.7', 6: '2001:db8::7' } as const;
const VIPS = { 4: '20.0.0.1', 6: '2000::1' } as const;
const FAMILIES = [4, 6] as const;
/** Targets by port: flow `p` has the one of mark p. */
const CONFIG = configOf({
  streams: [streamOf('a', 1, { 1: 5001 }), streamOf('b', 1, { 1: 6001 })],
  flows: [
    flowOf('a', 'a', { protocols: ['udp'], destinationPortRanges: [{ first: 1, last: 1 }] }),
    flowOf('b', 'b', { protocols: ['udp'], destinationPortRanges: [{ first: 2, last: 2 }] }),
  ],
});

type Family = (typeof FAMILIES)[number];

/** A fragment at `offset` units of 8 bytes. */
function fragment(
  family: Family,
  id: number,
  offset: number,
  more: boolean,
  payload: number[],
  client?: string,
) {
  const source = client ?? CLIENTS[family];
  if (family === 4) return ip(source, VIPS[4], UDP, payload, { fragment: (more ? 0x2000 : 0) | offset, id });
  const header = [UDP, 0, ...be16((offset << 3) | (more ? 1 : 0)), ...be16(0), ...be16(id)];
  return ip(source, VIPS[6], 44, payload, { options: header });
}

const first = (family: Family, id: number, port = 1, client?: string) =>
  fragment(family, id, 0, true, transport(UDP, 999, port, [1, 2, 3, 4, 5, 6, 7, 8]), client);
const later = (family: Family, id: number, offset = 2, client?: string) =>
  fragment(family, id, offset, false, [1, 2, 3, 4], client);

for (const family of FAMILIES) {
  t.test(`IPv${family}: later fragments get the decision of their first`, t => {
    const turns = new Turns(CONFIG);
    t.strictSame(turns.turn(first(family, 7), later(family, 7), first(family, 8, 2), later(family, 8)), [
      { id: 1, verdict: ACCEPT, mark: 5001 },
      { id: 2, verdict: ACCEPT, mark: 5001 },
      { id: 3, verdict: ACCEPT, mark: 6001 },
      { id: 4, verdict: ACCEPT, mark: 6001 },
    ]);
    turns.now += TIMEOUT_MS;
    t.strictSame(
      turns.turn(later(family, 7, 3)),
      [{ id: 5, verdict: ACCEPT, mark: 5001 }],
      'in another batch',
    );
    t.strictSame(turns.turn(later(family, 7, 3, family === 4 ? '192.0.2.8' : '2001:db8::8')), [
      { id: 6, verdict: HOLD, mark: 0 },
    ]);
    t.match(turns.counts(), { tracked: 2, later: 4, followed: 3, held: 1, waiting: 1 });
    t.equal(turns.images.counters.read('a'), 1, 'a flow matches a packet once');
    t.equal(turns.images.targetCounters.read('a/1'), 3, 'a target gets each fragment');
    t.end();
  });

  t.test(`IPv${family}: later fragments wait for their first and leave behind it`, t => {
    const turns = new Turns(CONFIG);
    t.strictSame(turns.turn(later(family, 7, 2), later(family, 8, 2), later(family, 7, 1)), [
      { id: 1, verdict: HOLD, mark: 0 },
      { id: 2, verdict: HOLD, mark: 0 },
      { id: 3, verdict: HOLD, mark: 0 },
    ]);
    t.strictSame(turns.decided('drop', turns.core.Reason.FragmentWithoutFirst), [0, 0], 'not decided yet');
    t.strictSame(turns.turn(), []);
    t.strictSame(turns.turn(first(family, 7)), [
      { id: 4, verdict: ACCEPT, mark: 5001 },
      { id: 1, verdict: ACCEPT, mark: 5001 },
      { id: 3, verdict: ACCEPT, mark: 5001 },
    ]);
    t.match(turns.counts(), { held: 3, released: 2, waiting: 1 });
    t.equal(turns.decided('accept', turns.core.Reason.Ok)[0], 3);
    turns.now += TIMEOUT_MS;
    t.strictSame(turns.turn(), [], 'its time is not over');
    turns.now += 1;
    t.strictSame(turns.turn(), [{ id: 2, verdict: DROP, mark: 0 }], 'nor does it need a packet to run out');
    t.strictSame(turns.decided('drop', turns.core.Reason.FragmentWithoutFirst), [1, family === 4 ? 24 : 52]);
    t.match(turns.counts(), { timedOut: 1, waiting: 0 });
    t.end();
  });

  t.test(`IPv${family}: what is forgotten is not followed`, t => {
    const turns = new Turns(CONFIG);
    turns.turn(first(family, 7));
    turns.now += TIMEOUT_MS + 1;
    t.match(turns.turn(later(family, 7)), [{ verdict: HOLD }]);
    t.match(
      turns.turn(first(family, 7, 2)),
      [{ mark: 6001 }, { id: 2, mark: 6001 }],
      'its number comes again',
    );
    t.match(turns.counts(), { tracked: 2, reused: 1, evicted: 0 });
    t.end();
  });
}

t.test('a duplicate of the first changes nothing, and a first with other ports decides anew', t => {
  const turns = new Turns(CONFIG);
  turns.turn(first(4, 7), first(4, 7));
  t.match(turns.turn(later(4, 7), later(4, 7)), [{ mark: 5001 }, { mark: 5001 }]);
  t.match(turns.counts(), { tracked: 2, reused: 0, evicted: 0, collided: 0 });
  turns.turn(first(4, 7, 2));
  t.match(turns.turn(later(4, 7)), [{ mark: 6001 }]);
  t.end();
});

t.test('fragments of a packet that is dropped are dropped, with its reason', t => {
  const turns = new Turns(CONFIG);
  const { Reason } = turns.core;
  t.match(turns.turn(later(4, 7), first(4, 7, 3), later(4, 7)), [
    { id: 1, verdict: HOLD },
    { id: 2, verdict: DROP },
    { id: 3, verdict: DROP },
    { id: 1, verdict: DROP },
  ]);
  t.equal(turns.decided('drop', Reason.NoFlow)[0], 3);
  const tiny = fragment(4, 8, 0, true, [0, 1]);
  t.match(turns.turn(tiny, later(4, 8, 1)), [{ verdict: DROP }, { verdict: DROP }]);
  t.equal(turns.decided('drop', Reason.Truncated)[0], 2, 'a first that ends before its ports');
  t.end();
});

t.test('an error in fragments goes by the packet inside, and its key is the outer one', t => {
  const config = configOf({ streams: CONFIG.streams, flows: [flowOf('all', 'b')] });
  const turns = new Turns(config);
  const inner = ip(VIPS[4], CLIENTS[4], TCP, transport(TCP, 4000, 1000), { fragment: 0x2000, id: 99 });
  const error = ip('192.0.2.200', VIPS[4], 1, icmp(3, 4, [0, 0, 5, 0x78], inner), {
    fragment: 0x2000,
    id: 7,
  });
  const rest = ip('192.0.2.200', VIPS[4], 1, [1, 2, 3, 4], { fragment: 9, id: 7 });
  t.match(turns.turn(error, rest), [{ mark: 6001 }, { mark: 6001 }]);
  const aboutLater = ip(VIPS[4], CLIENTS[4], TCP, [0, 0, 0, 0, 0, 0, 0, 0], { fragment: 5, id: 99 });
  t.match(
    turns.turn(ip('192.0.2.200', VIPS[4], 1, icmp(3, 4, [0, 0, 5, 0x78], aboutLater))),
    [{ verdict: DROP }],
    'one about a later fragment is whole, and held for nobody',
  );
  t.end();
});

t.test('no more than the configured number is held: the oldest gives way', t => {
  const turns = new Turns(CONFIG, 3);
  turns.turn(...[1, 2, 3].map(id => later(4, id)));
  t.match(turns.turn(later(4, 4), later(4, 5)), [
    { verdict: HOLD },
    { verdict: HOLD },
    { id: 1, verdict: DROP },
    { id: 2, verdict: DROP },
  ]);
  t.match(turns.counts(), { waiting: 3, held: 5, pushedOut: 2, timedOut: 0 });
  t.match(turns.turn(first(4, 5)), [{ verdict: ACCEPT }, { id: 5, verdict: ACCEPT }]);

  const none = new Turns(CONFIG, 0);
  t.match(none.turn(later(4, 1)), [{ verdict: DROP }], 'a queue of less than four holds none');
  t.equal(none.decided('drop', none.core.Reason.FragmentWithoutFirst)[0], 1);
  t.end();
});

t.test('all that were held and a batch of others are answered in one turn, each once', t => {
  const turns = new Turns(CONFIG);
  const { Batch, Held, Released } = turns.core.Limit;
  for (let n = 0; n < Held; n += Batch) turns.turn(...Array.from({ length: Batch }, () => later(4, 7)));
  t.equal(turns.counts().waiting, Held);
  // The oldest of the ring stand at its end.
  const others = Array.from({ length: Batch }, (_, n) => later(4, 100 + n));
  const pushed = turns.turn(...others).filter(({ verdict }) => verdict === DROP);
  t.strictSame(
    pushed.map(({ id }) => id),
    Array.from({ length: Batch }, (_, n) => n + 1),
  );
  const answers = turns.turn(first(4, 7), ...Array.from({ length: Batch - 1 }, (_, n) => first(4, 100 + n)));
  t.equal(answers.length, Batch + Held - 1);
  t.equal(new Set(answers.map(({ id }) => id)).size, answers.length);
  t.ok(answers.every(({ verdict }) => verdict === ACCEPT));
  t.match(turns.counts(), { waiting: 1 });

  turns.now += TIMEOUT_MS + 1;
  for (let n = 0; n < Held; n += Batch)
    turns.turn(...Array.from({ length: Batch }, (_, k) => later(4, 1000 + n + k)));
  turns.now += TIMEOUT_MS + 1;
  const firsts = Array.from({ length: Batch }, (_, n) => (n % 2 === 0 ? later(6, n) : first(6, n - 1)));
  const most = turns.turn(...firsts);
  t.equal(most.length, Batch + Held + Batch / 2, 'all run out, and half a batch is held and released');
  t.ok(most.length - Batch <= Released);
  t.end();
});

t.test('a flood of firsts takes the place of the oldest of its set, and no memory', t => {
  const turns = new Turns(CONFIG);
  const { Batch, FragmentSets, FragmentWays } = turns.core.Limit;
  const room = FragmentSets * FragmentWays;
  let sent = 0;
  for (let client = 0; sent < 2 * room; client++) {
    turns.now += 0.01;
    const source = `10.0.${client >> 8}.${client & 255}`;
    turns.turn(...Array.from({ length: Batch }, (_, n) => first(4, n, 1, source)));
    sent += Batch;
  }
  const { tracked, evicted } = turns.counts();
  t.equal(tracked, sent);
  t.ok(evicted >= sent - room, `${evicted} evicted`);
  t.match(
    turns.turn(first(4, 7, 2), later(4, 7)),
    [{ mark: 6001 }, { mark: 6001 }],
    'a packet in order is unharmed',
  );
  t.end();
});

t.test('a decision outlives a change of the image, as long as somebody has its mark', async t => {
  const turns = new Turns(CONFIG);
  turns.turn(first(4, 7), first(4, 8, 2), first(4, 9, 3));
  // The stream of the former is now the second, and that of the latter is gone.
  turns.images.publish(configOf({ streams: [streamOf('c', 1, { 1: 7001 }), CONFIG.streams[0]!] }));
  await turns.images.retire();
  t.match(turns.turn(later(4, 7), later(4, 8), later(4, 9)), [
    { verdict: ACCEPT, mark: 5001 },
    { verdict: DROP, mark: 0 },
    { verdict: DROP, mark: 0 },
  ]);
  t.equal(turns.images.targetCounters.read('a/1'), 2);
  t.equal(turns.images.targetCounters.read('c/1'), 0);

  const marking = new Turns(configOf({ streams: [streamOf('a', 1, {})], flows: [], noFlowFwmark: 77 }));
  marking.turn(first(4, 1));
  marking.images.publish(configOf({ noFlowFwmark: 77 }));
  await marking.images.retire();
  t.match(marking.turn(later(4, 1)), [{ verdict: ACCEPT, mark: 77 }]);
  marking.images.publish(configOf({ noFlowFwmark: 78 }));
  await marking.images.retire();
  t.match(marking.turn(later(4, 1)), [{ verdict: DROP, mark: 0 }], 'a mark that nobody has is not given');
});

t.test('whoever has the mark is found among thousands, wherever its stream went', async t => {
  const streams = Array.from({ length: 40 }, (_, n) =>
    streamOf(
      `s${n}`,
      50,
      Object.fromEntries(Array.from({ length: 50 }, (_, m) => [m + 1, 90_000 - 100 * n + m])),
    ),
  );
  const flows = streams.map(({ name }, n) =>
    flowOf(name, name, { protocols: ['udp'], destinationPortRanges: [{ first: n + 1, last: n + 1 }] }),
  );
  const turns = new Turns(configOf({ streams, flows }));
  const decided = streams.map((_, n) => turns.turn(first(4, n, n + 1))[0]!.mark);
  t.equal(new Set(decided).size, streams.length);
  const gone = (n: number) => n % 7 === 3;
  turns.images.publish(configOf({ streams: streams.filter((_, n) => !gone(n)).reverse() }));
  await turns.images.retire();
  for (const [n, mark] of decided.entries())
    t.match(
      turns.turn(later(4, n)),
      [gone(n) ? { verdict: DROP, mark: 0 } : { verdict: ACCEPT, mark }],
      `s${n}`,
    );
  const counted = streams.map(({ name, targets }) =>
    targets.reduce(
      (sum, { identifier }) => sum + turns.images.targetCounters.read(`${name}/${identifier}`),
      0,
    ),
  );
  t.strictSame(
    counted,
    streams.map((_, n) => (gone(n) ? 0 : 2)),
    'counted for the same target',
  );
});

t.test('a clock that another life of the worker left ahead makes nothing young', t => {
  const turns = new Turns(CONFIG);
  turns.turn(first(4, 7), later(4, 8));
  turns.now -= 3_600_000;
  t.match(turns.turn(later(4, 7)), [{ verdict: HOLD }, { id: 2, verdict: DROP }]);
  t.end();
});
