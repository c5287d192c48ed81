/** How properties are run: with a seed that is printed on failure, and that `PROPERTY_SEED` gives again. */
import fc from 'fast-check';

const FIRST_SEED =
  process.env.PROPERTY_SEED === undefined ? Date.now() | 0 : Number(process.env.PROPERTY_SEED);

/**
 * Run `property`; the error of a failure names the seed and the smallest counterexample.
 * @param round added to the seed, for properties that run more than once
 */
export async function check<Values>(
  property: fc.IAsyncProperty<Values> | fc.IProperty<Values>,
  numRuns: number,
  round = 0,
): Promise<void> {
  await fc.assert(property as fc.IAsyncProperty<Values>, { seed: (FIRST_SEED + round) | 0, numRuns });
}
