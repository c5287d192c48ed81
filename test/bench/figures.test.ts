/** The arithmetic of the benchmarks. */
import t from 'tap';
import { figures, median, meets, type NamedFigure, ratios, spread } from '../../scripts/bench/figures.js';

t.test('the median of an even number of samples lies between the middle two', async t => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([9, 1, 5, 7]), 6);
});

t.test('the order of samples stays, their range is told', async t => {
  t.strictSame(figures([3, 1, 2]), { median: 2, fastest: 1, slowest: 3, samples: [3, 1, 2] });
});

t.test('spread is the range as a part of the median', async t => {
  t.equal(spread(figures([90, 100, 120])), 0.3);
  t.equal(spread(figures([7])), 0);
});

t.test('ratios are taken round by round, not of the medians', async t => {
  // The machine was slow in one round: that round's ratio is as good as the others'.
  t.strictSame(ratios([20, 2, 30], [10, 1, 15]).samples, [2, 2, 2]);
  t.equal(ratios([1, 5, 9], [9, 5, 1]).median, 1);
});

t.test('rounds that do not stand side by side are refused', async t => {
  t.throws(() => ratios([1, 2], [1]), RangeError);
  t.throws(() => ratios([], []), RangeError);
});

t.test('a target is judged by the ratio where there is one, else by the value', async t => {
  const figure = (more: Partial<NamedFigure>): NamedFigure => ({
    ...{ name: 'n', value: 100, unit: 'u', target: null, ratio: null, samples: [] },
    ...more,
  });
  t.ok(meets(figure({})));
  t.ok(meets(figure({ target: { atLeast: 100 } })));
  t.notOk(meets(figure({ target: { atLeast: 101 } })));
  t.notOk(meets(figure({ target: { atMost: 99 } })));
  t.ok(meets(figure({ ratio: 0.5, target: { atMost: 1 } })));
  t.notOk(meets(figure({ ratio: Number.NaN, target: { atMost: 1 } })), 'what is no number meets nothing');
});
