/** Durations, as they are written in a configuration. */
import t from 'tap';
import { durationWithin, parseDuration } from '../../host/config/duration.js';

t.test('every whole millisecond can be written in seconds and minutes', async t => {
  const asSeconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(3)}s`;
  const wrong = Array.from({ length: 60_001 }, (_, milliseconds) => milliseconds).filter(
    milliseconds => parseDuration(asSeconds(milliseconds)) !== milliseconds,
  );
  t.strictSame(wrong, []);
  const minutes = Array.from({ length: 10_001 }, (_, thousandths) => thousandths).filter(
    thousandths => parseDuration(`${(thousandths / 1000).toFixed(3)}m`) !== 60 * thousandths,
  );
  t.strictSame(minutes, []);
  t.strictSame(
    ['2.01s', '16.1s', '1.5s', '1.5m', '300ms', '2.0ms', '0s'].map(parseDuration),
    [2010, 16_100, 1500, 90_000, 300, 2, 0],
  );
});

t.test('what is no whole number of milliseconds is refused, and so is what is no duration', async t => {
  for (const text of ['0.5ms', '1.001ms']) t.match(parseDuration(text), /is no whole number of milliseconds/);
  for (const text of ['', '1', '1h', '-1s', '1 s', '.5s', '1.s', '1.0001s', '1e3ms', '１s'])
    t.match(parseDuration(text), /is not a duration/, `"${text}"`);
});

t.test('the bounds are within', async t => {
  const within = durationWithin('10ms', '60s');
  t.strictSame(['10ms', '60s', '1m', '0.01s'].map(within), [10, 60_000, 60_000, 10]);
  for (const text of ['9ms', '60.001s', '1.001m']) t.equal(within(text), `${text} is not within 10ms to 60s`);
});
