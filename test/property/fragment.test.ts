/** What becomes of fragments, against a plain account of it, on random sequences of batches. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { configOf, flowOf, streamOf } from '../fixture/config.js';
import { be16, ip, transport, UDP } from '../fixture/packet.js';
import { ACCEPT, DROP, HOLD, TIMEOUT_MS, Turns } from '../fixture/turns.js';
import { check } from './check.js';

const SEQUENCES = 2000;
const MOST_HELD = 5;
const MARKS = [5001, 6001] as const;

/** No more than the ways of a set: nothing is evicted, whatever the hash. */
const PACKETS = [
  { family: 4, id: 1 },
  { family: 4, id: 2 },
  { family: 6, id: 1 },
  { family: 6, id: 2 },
] as const;

/** Port 3 has no flow; without ports the first is too short (RFC 1858, section 3). */
const event = fc.record({
  packet: fc.nat(PACKETS.length - 1),
  kind: fc.oneof(
    { weight: 3, arbitrary: fc.constant('later' as const) },
    { weight: 1, arbitrary: fc.constantFrom('first' as const, 'tiny' as const, 'whole' as const) },
  ),
  port: fc.integer({ min: 1, max: 3 }),
  /** Words of 8 bytes of headers in front of the fragment header, or of options. */
  extensions: fc.nat(2),
  /** Bytes of a later one; 0 is no fragment that any host sends. */
  bytes: fc.constantFrom(0, 8, 24),
  offset: fc.integer({ min: 1, max: 0x1fff }),
  more: fc.boolean(),
});
type Event = typeof event extends fc.Arbitrary<infer Value> ? Value : never;

const sequence = fc.array(
  fc.record({ after: fc.constantFrom(0, 1, 200, 501), events: fc.array(event, { maxLength: 12 }) }),
  { minLength: 1, maxLength: 20, size: 'max' },
);

/** Hop-by-hop, then routing or destination options: what may stand before the fragment header (RFC 8200, section 4.1). */
function unfragmentable(words: number, next: number): { protocol: number; bytes: number[] } {
  const types = [0, 43].slice(0, words);
  const bytes = types.flatMap((_, n) => [types[n + 1] ?? next, 0, 1, 4, 0, 0, 0, 0]);
  return { protocol: types[0] ?? next, bytes };
}

function render({ packet, kind, port, extensions, bytes, offset, more }: Event): Uint8Array {
  const { family, id } = PACKETS[packet]!;
  const begins = kind !== 'later';
  const payload = begins
    ? transport(UDP, 999, port, [1, 2, 3, 4, 5, 6, 7, 8]).slice(0, kind === 'tiny' ? 2 : undefined)
    : new Array<number>(bytes).fill(1);
  const place = kind === 'whole' ? 0 : begins ? 1 : (offset << 3) | (more ? 1 : 0);
  if (family === 4) {
    const fragment = ((place & 1) << 13) | (place >> 3);
    return ip('192.0.2.7', '20.0.0.1', UDP, payload, {
      id,
      fragment,
      options: new Array<number>(8 * extensions).fill(1),
    });
  }
  const { protocol, bytes: before } = unfragmentable(extensions, 44);
  return ip('2001:db8::7', '2000::1', protocol, payload, {
    options: [...before, UDP, 0, ...be16(place), 0, 0, ...be16(id)],
  });
}

interface Decision {
  readonly verdict: number;
  readonly mark: number;
}

const DROPPED: Decision = { verdict: DROP, mark: 0 };

/** As the documentation says it. */
class Account {
  private readonly firsts = new Map<number, Decision & { readonly at: number }>();
  private held: { readonly id: number; readonly packet: number; readonly at: number }[] = [];

  /** @param id of the last packet before */
  constructor(private id: number) {}

  /** Answers by id; null: it is held. */
  turn(events: readonly Event[], now: number): Map<number, Decision | null> {
    const answers = new Map<number, Decision | null>();
    const expired = this.held.filter(({ at }) => now - at > TIMEOUT_MS);
    for (const { id } of expired) answers.set(id, DROPPED);
    this.held = this.held.filter(({ at }) => now - at <= TIMEOUT_MS);
    for (const { packet, kind, port } of events) {
      const id = ++this.id;
      const mark = kind === 'tiny' ? undefined : MARKS[port - 1];
      const decision = mark === undefined ? DROPPED : { verdict: ACCEPT, mark };
      if (kind === 'whole') {
        answers.set(id, decision);
      } else if (kind !== 'later') {
        answers.set(id, decision);
        this.firsts.set(packet, { ...decision, at: now });
        for (const waiting of this.held.filter(each => each.packet === packet))
          answers.set(waiting.id, decision);
        this.held = this.held.filter(each => each.packet !== packet);
      } else {
        const first = this.firsts.get(packet);
        if (first !== undefined && now - first.at <= TIMEOUT_MS) {
          answers.set(id, { verdict: first.verdict, mark: first.mark });
          continue;
        }
        answers.set(id, null);
        if (this.held.length === MOST_HELD) answers.set(this.held.shift()!.id, DROPPED);
        this.held.push({ id, packet, at: now });
      }
    }
    return answers;
  }

  get waiting(): number {
    return this.held.length;
  }
}

const CONFIG = configOf({
  streams: [streamOf('a', 1, { 1: MARKS[0] }), streamOf('b', 1, { 1: MARKS[1] })],
  flows: ['a', 'b'].map((name, index) =>
    flowOf(name, name, {
      protocols: ['udp'],
      destinationPortRanges: [{ first: index + 1, last: index + 1 }],
    }),
  ),
});

t.test('each fragment is answered once, as its first was, and no more wait than may', async t => {
  const core = new Turns(CONFIG, MOST_HELD);
  const property = fc.property(sequence, turns => {
    // What the sequence before left is too old.
    core.now += 2 * TIMEOUT_MS;
    core.turn();
    const account = new Account(core.lastId);
    const answered = new Set<number>();
    for (const { after, events } of turns) {
      core.now += after;
      const wanted = account.turn(events, core.now);
      const found = core.turn(...events.map(render));
      const last = new Map<number, Decision | null>();
      for (const { id, verdict, mark } of found) {
        if (verdict === HOLD) {
          last.set(id, null);
          continue;
        }
        assert.ok(!answered.has(id), `${id} is answered once`);
        answered.add(id);
        last.set(id, { verdict, mark });
      }
      for (const [id, decision] of wanted) assert.deepEqual(last.get(id), decision, `packet ${id}`);
      assert.equal(last.size, wanted.size, 'nothing else is answered');
      assert.equal(core.counts().waiting, account.waiting);
    }
    const counts = core.counts();
    assert.equal(counts.later, counts.followed + counts.held);
    assert.equal(counts.held, counts.released + counts.timedOut + counts.pushedOut + counts.waiting);
  });
  await check(property, SEQUENCES);
  const { followed, released, timedOut, pushedOut, evicted } = core.counts();
  const seen = { followed, released, timedOut, pushedOut };
  for (const [name, count] of Object.entries(seen)) t.ok(count > 100, `${name}: ${count}`);
  t.equal(evicted, 0);
});
