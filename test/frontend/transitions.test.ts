import t from 'tap';
import type { SessionState } from '../../host/frontend/session.js';
import { Transitions } from '../../host/frontend/transitions.js';
import { FakeClock } from '../fixture/clock.js';

const STARTED = new Date(0).toISOString();
const SESSION: SessionState = {
  gateway: 'g',
  address: '10.0.0.4',
  family: 4,
  protocol: 'static',
  up: true,
  bfd: 'none',
  since: STARTED,
  info: 'Route stands',
};
const DOWN = { ...SESSION, up: false, info: 'No route: its link is down' };

function watched() {
  const clock = new FakeClock();
  const lines: string[] = [];
  const write =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push(`${level} ${message} ${(fields as { reason?: string }).reason ?? ''}`.trim());
  const log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  const transitions = new Transitions(log, clock);
  const since = (session: SessionState) => transitions.next([session])[0]!.since;
  return { clock, lines, since };
}
const at = (ms: number) => new Date(ms).toISOString();

t.test('each change has its time and its line of the log', async t => {
  const { clock, lines, since } = watched();
  t.equal(since(SESSION), STARTED);
  await clock.until(5000);
  t.equal(since(DOWN), at(5000), 'BIRD goes on to tell the time of its start');
  await clock.until(6000);
  t.equal(since({ ...DOWN, info: 'another reason' }), at(5000), 'a new reason is no change');
  await clock.until(7000);
  t.equal(since(SESSION), at(7000));
  t.strictSame(lines, [
    'info gateway is up',
    'warn gateway is down No route: its link is down',
    'info gateway is up',
  ]);
});

t.test('BFD that changes alone is a change', async t => {
  const { clock, lines, since } = watched();
  since({ ...DOWN, bfd: 'down' });
  await clock.until(3000);
  t.equal(since({ ...DOWN, bfd: 'up' }), at(3000));
  t.equal(lines.length, 1);
});

t.test('BFD that a reload adds or removes is no change', async t => {
  const { clock, lines, since } = watched();
  since({ ...SESSION, bfd: 'up' });
  await clock.until(3000);
  t.equal(since(SESSION), STARTED);
  t.equal(since({ ...SESSION, bfd: 'up' }), STARTED);
  t.equal(lines.length, 1);
});

t.test("BIRD's time is taken where it is newer, and varies by a millisecond", async t => {
  const { clock, since } = watched();
  since(DOWN);
  await clock.until(5000);
  t.equal(since({ ...SESSION, since: at(4990) }), at(4990));
  t.equal(since({ ...SESSION, since: at(4991) }), at(4990));
  t.equal(since({ ...SESSION, since: at(9000) }), at(9000), 'it was away for a moment');
  t.equal(since({ ...DOWN, since: null }), at(5000), 'a BIRD that ended has no time');
});

t.test('a gateway that is down from the start on is logged once, after a while', async t => {
  const { clock, lines, since } = watched();
  for (let ms = 0; ms <= 60_000; ms += 200) {
    await clock.until(ms);
    since(DOWN);
    t.equal(lines.length, ms < 10_000 ? 0 : 1);
  }
});
