import t from 'tap';
import { Tally } from '../../host/daemon/tally.js';

t.test('why the last look failed is a warning until one succeeds, short and on one line', async t => {
  const tally = new Tally();
  t.same(tally.warnings(), []);
  const failing = (message: string) => tally.looks.count(() => Promise.reject(new Error(message)));
  await t.rejects(failing('nft list tables: exit code 1:\n\u001b[2JError'));
  t.same(tally.warnings(), [
    'what the kernel holds could not be compared or repaired: nft list tables: exit code 1:\\u000a\\u001b[2JError. ' +
      'It is tried again, each 30 s at the latest',
  ]);
  await t.rejects(failing('x'.repeat(10_000)));
  t.ok(tally.warnings()[0]!.length < 500);
  await tally.looks.count(async () => {});
  t.same(tally.warnings(), []);
  t.match(tally.looks, { succeeded: 1, failed: 2, fault: null });
});
