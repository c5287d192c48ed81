/** What two readings of the guard's counters say, and how long a warning lasts. */
import t from 'tap';
import {
  GuardWatch,
  LastingWarning,
  type PassageReading,
  passageBetween,
} from '../../host/daemon/guard-watch.js';
import { waitFor } from '../../scripts/lab/wait.js';

const reading = (more: Partial<PassageReading> = {}): PassageReading => ({
  dropped: { 4: 0, 6: 0 },
  left: 0,
  changes: 1,
  decidedBefore: 0,
  decidedAfter: 0,
  ...more,
});

t.test('what was decided and did not leave is lost, beyond what is usual', async t => {
  const rows: [claim: string, before: Partial<PassageReading>, now: Partial<PassageReading>, lost: number][] =
    [
      ['nothing came', {}, {}, 0],
      ['all left', {}, { decidedBefore: 1000, left: 1000 }, 0],
      ['none left', {}, { decidedBefore: 1000, left: 0 }, 1000],
      ['20 are too old or too big', {}, { decidedBefore: 100, left: 80 }, 0],
      ['21 of 100 are more', {}, { decidedBefore: 100, left: 79 }, 21],
      ['1 % of many is usual', {}, { decidedBefore: 100_000, left: 99_000 }, 0],
      ['more than 1 % is not', {}, { decidedBefore: 100_000, left: 98_999 }, 1001],
      [
        'what came while the counters were read is no loss',
        { decidedBefore: 0, decidedAfter: 5000 },
        { decidedBefore: 5000, decidedAfter: 9000, left: 100 },
        0,
      ],
      ['the ruleset changed between', {}, { decidedBefore: 1000, changes: 2 }, 0],
    ];
  for (const [claim, before, now, lost] of rows)
    t.equal(passageBetween(reading(before), reading(now)).lost, lost, claim);
});

t.test('a counter that fell back began at 0', async t => {
  const { dropped, left } = passageBetween(
    reading({ dropped: { 4: 10, 6: 10 }, left: 50 }),
    reading({ dropped: { 4: 3, 6: 12 }, left: 7 }),
  );
  t.strictSame({ dropped, left }, { dropped: { 4: 3, 6: 2 }, left: 7 });
});

t.test('a warning keeps its words until its reason has been gone for three periods', async t => {
  const warning = new LastingWarning();
  const lines = ['first', 'second', null, 'third', null, null, null, 'fourth'].map(line => {
    warning.period(line);
    return warning.line;
  });
  t.strictSame(lines, ['first', 'first', 'first', 'first', 'first', 'first', null, 'fourth']);
});

t.test('what is dropped counts from the first reading on, and a failure is logged once', async t => {
  const errors: unknown[] = [];
  const warned: (readonly string[])[] = [];
  const script: (number | null | 'fails')[] = [100, 'fails', 'fails', 130, null, 5, 7];
  let last = 7;
  const watch = new GuardWatch({
    log: { error: (fields: unknown) => errors.push(fields) } as never,
    read: async () => {
      const next = script.length > 0 ? (script.shift() ?? null) : last;
      if (next === 'fails') throw new Error('nft does not run');
      if (next !== null) last = next;
      const { dropped, left, changes } = reading(next === null ? {} : { dropped: { 4: next, 6: 0 } });
      return next === null ? null : { dropped, left, changes };
    },
    decided: () => 0,
    warn: lines => warned.push(lines),
    periodMs: 1,
    settleMs: 1,
  });
  watch.start();
  await waitFor('all readings', 60_000, () => script.length === 0 && warned.length > 3);
  await watch.stop();
  t.equal(watch.dropped[4], 37, '30, and 7 of the table that was made again');
  t.equal(errors.length, 1);
  t.match(warned[0]?.[0], /^30 packets to a VIP had none of our marks and were dropped within /);
});
