import t from 'tap';
import { RepeatedLines, repeatedText } from '../../host/util/repeated.js';
import { FakeClock } from '../fixture/clock.js';

function collapser(mostLines = 200) {
  const clock = new FakeClock();
  const summaries: string[] = [];
  const repeated = new RepeatedLines<string>({
    clock,
    mostLines,
    summarize: (line, count, windowMs) => summaries.push(`${line}: ${repeatedText(count, windowMs)}`),
  });
  const write = (line: string) => repeated.admit(line, line);
  return { clock, summaries, repeated, write };
}

t.test('the first line passes, the next ones are one summary every 30 s', async t => {
  const { clock, summaries, write } = collapser();
  t.equal(write('port in use'), true);
  for (let second = 0; second < 60; second++) {
    await clock.until(clock.now() + 500);
    t.equal(write('port in use'), false);
    await clock.until(clock.now() + 500);
  }
  t.strictSame(summaries, [
    'port in use: repeated 30 times in 30 s',
    'port in use: repeated 30 times in 30 s',
  ]);
});

t.test('a line that stops is new when it comes again a window later', async t => {
  const { clock, summaries, write } = collapser();
  write('a');
  write('a');
  await clock.until(clock.now() + 30_000);
  t.strictSame(summaries, ['a: repeated once in 30 s']);
  t.equal(write('a'), false, 'it repeated in the last window');
  await clock.until(clock.now() + 60_000);
  t.equal(write('a'), true);
  await clock.until(clock.now() + 30_000);
  t.equal(write('a'), true, 'a line that came once is not held back after its window');
  await clock.until(clock.now() + 30_000);
  t.equal(clock.timers, 0, 'nothing waits when nothing repeats');
});

t.test('lines that alternate are collapsed each', async t => {
  const { clock, summaries, write } = collapser();
  const written = Array.from({ length: 10 }, (_, n) => write(n % 2 === 0 ? 'a' : 'b'));
  t.strictSame(written.slice(0, 3), [true, true, false]);
  await clock.until(clock.now() + 30_000);
  t.strictSame(summaries, ['a: repeated 4 times in 30 s', 'b: repeated 4 times in 30 s']);
});

t.test('lines that never repeat are all written, and a bounded number is remembered', async t => {
  const { clock, summaries, write } = collapser(3);
  for (let n = 0; n < 100; n++) t.equal(write(`line ${n}`), true);
  t.equal(clock.timers, 3);
  write('line 97');
  await clock.until(clock.now() + 2000);
  write('another');
  t.strictSame(summaries, ['line 97: repeated once in 2 s'], 'what is forgotten is summed up first');
});

t.test('an end writes what was counted', async t => {
  const { clock, summaries, repeated, write } = collapser();
  write('a');
  write('a');
  write('b');
  await clock.until(clock.now() + 1000);
  repeated.flush();
  t.strictSame(summaries, ['a: repeated once in 1 s']);
  t.equal(clock.timers, 0);
});
