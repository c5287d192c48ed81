/** Samples in which nothing arrived. */
import t from 'tap';
import { untilHeard } from '../../scripts/bench/queue/heard.js';

const samples = (...values: readonly number[]) => {
  const left = [...values];
  return { left, next: () => Promise.resolve(left.shift()!) };
};
const itself = (value: number) => value;

t.test('a sample in which nothing arrived is taken anew', async t => {
  const { left, next } = samples(0, 0, 7, 9);
  t.equal(await untilHeard('C', next, itself), 7);
  t.strictSame(left, [9], 'and no other');
});

t.test('whoever is never heard is named', async t => {
  const { left, next } = samples(0, 0, 0, 0, 0, 5);
  await t.rejects(untilHeard('C, batched', next, itself), {
    message: 'C, batched: nothing arrived in any of 5 samples',
  });
  t.strictSame(left, [5]);
});
