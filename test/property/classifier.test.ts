/**
 * The classifier against the linear walk, both in the core. `npm run test:classifier` compares ten million pairs of
 * configuration and packet. `CLASSIFIER_SEED` begins with that configuration; a disagreement names its own.
 */
import t from 'tap';
import { Comparison } from './classified.js';

const PAIRS = Number(process.env.CLASSIFIER_PAIRS ?? 200_000);
const FIRST_SEED = Number(process.env.CLASSIFIER_SEED ?? Date.now() % 1_000_000_000);
const PROGRESS_PAIRS = 500_000;

t.test(`classifier and linear walk decide alike, for at least ${PAIRS} pairs`, async t => {
  const comparison = new Comparison();
  const { tally } = comparison;
  let told = 0;
  for (let seed = FIRST_SEED; tally.pairs < PAIRS; seed++) {
    await comparison.run(seed);
    if (tally.pairs - told < PROGRESS_PAIRS) continue;
    told = tally.pairs;
    t.comment(`${tally.pairs} pairs of ${PAIRS}`);
  }
  t.comment(`from configuration ${FIRST_SEED} on`, tally);
  t.ok(tally.matched > tally.pairs / 4, 'packets match flows');
  t.ok(tally.matched < tally.pairs * 0.95, 'packets match no flow');
  t.ok(tally.unread > tally.pairs / 1000, 'byte statements cannot be read');
  t.ok(tally.bySource > 0, 'flows are filed by their sources');
  t.ok(tally.withRest > 0, 'flows are filed nowhere');
});
