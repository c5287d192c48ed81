/** The arithmetic of the benchmarks. */
import t from 'tap';
import {
  figures,
  median,
  meets,
  type NamedFigure,
  quantile,
  ratios,
  rowOf,
  spread,
} from '../../scripts/bench/figures.js';
import { atLeast, atMost } from '../../scripts/bench/report/figure.js';

t.test('the median of an even number of samples lies between the middle two', async t => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([9, 1, 5, 7]), 6);
});

t.test('a quantile is one of the values, whatever their order', async t => {
  const values = Array.from({ length: 101 }, (_, n) => 100 - n);
  t.equal(quantile(values, 0.5), 50);
  t.equal(quantile(values, 0.99), 99);
  t.equal(quantile([7], 0.999), 7);
  t.ok(Number.isNaN(quantile([], 0.5)));
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

t.test('a figure meets its target or misses it, and what is no number meets nothing', async t => {
  const figure = (value: number, target: NamedFigure['target']): NamedFigure => ({
    ...{ name: 'n', value, unit: 'u', target, ratio: 7, samples: [value] },
  });
  t.ok(meets(figure(100, null)));
  t.ok(meets(figure(100, atLeast(100))));
  t.notOk(meets(figure(100, atLeast(101))));
  t.notOk(meets(figure(100, atMost(99))));
  t.notOk(meets(figure(Number.NaN, atMost(1))));
});

t.test('the range of one sample is not told', async t => {
  const figure: NamedFigure = {
    name: 'n',
    value: 2,
    unit: 'u',
    target: null,
    ratio: null,
    samples: [1, 2, 4],
  };
  t.strictSame(rowOf(figure).spread, [1, 4]);
  t.equal(rowOf({ ...figure, samples: [2] }).spread, null);
});
