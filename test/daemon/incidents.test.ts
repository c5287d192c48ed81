import t from 'tap';
import { Incidents } from '../../host/daemon/incidents.js';

const LOG = { error() {}, fatal() {} };

t.test('an error is a warning, and no reason to stop', t => {
  let stopped = 0;
  const incidents = new Incidents(LOG, () => stopped++);
  t.strictSame(incidents.warnings(), []);
  incidents.note(new Error('first'));
  incidents.note(new Error('second\nand more'));
  t.equal(incidents.count, 2);
  t.strictSame(incidents.warnings(), [
    'an internal error happened: second (2 in all); the daemon goes on: see the log, and restart it when convenient',
  ]);
  t.equal(stopped, 0);
  t.end();
});

t.test('many within a minute are one, those over hours are none', t => {
  let now = 0;
  let stopped = 0;
  const incidents = new Incidents(
    LOG,
    () => stopped++,
    () => now,
  );
  for (let n = 0; n < 100; n++, now += 7_000) incidents.note(new Error('slow'));
  t.equal(stopped, 0);
  for (let n = 0; n < 100; n++) incidents.note(new Error('fast'));
  t.equal(stopped, 1);
  t.end();
});
