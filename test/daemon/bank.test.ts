import t from 'tap';
import { bankText, freeBank } from '../../host/daemon/bank.js';

const bank = (first: number, last: number) => ({ first, last });
const bound = (...banks: { first: number; last: number }[]) =>
  new Set(banks.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, n) => first + n)));

t.test('takeovers alternate between the configured numbers and those behind them', async t => {
  t.strictSame(freeBank(bank(0, 3), bank(0, 3), bound(bank(0, 3))), bank(4, 7));
  t.strictSame(freeBank(bank(0, 3), bank(4, 7), bound(bank(4, 7))), bank(0, 3));
});

t.test('another number of queues, or other numbers, are taken where they are free', async t => {
  t.strictSame(freeBank(bank(0, 7), bank(0, 3), bound(bank(0, 3))), bank(8, 15));
  t.strictSame(freeBank(bank(0, 1), bank(0, 3), bound(bank(0, 3))), bank(4, 5), 'behind those in use');
  t.strictSame(freeBank(bank(20, 23), bank(0, 3), bound(bank(0, 3))), bank(20, 23));
});

t.test('numbers that others hold, and numbers that there are not, are never taken', async t => {
  t.equal(freeBank(bank(0, 3), bank(0, 3), bound(bank(0, 3), bank(7, 7))), null);
  t.equal(freeBank(bank(65_534, 65_535), bank(65_534, 65_535), bound(bank(65_534, 65_535))), null);
});

t.test('numbers read as in the configuration', async t => {
  t.equal(bankText(bank(0, 3)), '0:3');
  t.equal(bankText(bank(2, 2)), '2');
});
