/** Sender and answerer never share a CPU where there are two. */
import t from 'tap';
import { placementOf } from '../../scripts/bench/queue/placement.js';

t.test('the first CPU sends and all others answer', async t => {
  t.strictSame(placementOf('0-3,7'), {
    sender: ['taskset', '-c', '0'],
    answerer: ['taskset', '-c', '1,2,3,7'],
  });
  t.strictSame(placementOf('2,5').answerer, ['taskset', '-c', '5']);
});

t.test('with one CPU nobody is bound', async t => {
  t.strictSame(placementOf('4'), { sender: [], answerer: [] });
});
