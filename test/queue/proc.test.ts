import t from 'tap';
import { parseQueues } from '../../host/queue/proc.js';

t.test('a line of the kernel becomes the numbers of one queue', async t => {
  const text =
    '    0  40234     3 2   512    17     4      120  1\n    1 3175839274     0 2 65531     0     0        0  1\n';
  t.strictSame(parseQueues(text), [
    { queue: 0, portId: 40234, depth: 3, copyRange: 512, queueDropped: 17, userDropped: 4 },
    { queue: 1, portId: 3175839274, depth: 0, copyRange: 65531, queueDropped: 0, userDropped: 0 },
  ]);
});

t.test('no bound queue is an empty list', async t => {
  t.strictSame(parseQueues(''), []);
});

t.test('a line of another shape is named, not guessed at', async t => {
  t.throws(() => parseQueues('0 1 2'), /"0 1 2"/);
  t.throws(() => parseQueues('a b c d e f g h i'), /"a b c/);
});
