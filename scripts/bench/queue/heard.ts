/** A sample in which nothing arrived says that the machine gave somebody no processor for all of it: it is taken anew. */

const TRIES = 5;

/**
 * @param name    who is measured
 * @param arrived how much of the sample did
 * @returns the first sample of which something arrived
 * @throws Error if nothing does in any of five
 */
export async function untilHeard<Sample>(
  name: string,
  sample: () => Promise<Sample>,
  arrived: (sample: Sample) => number,
): Promise<Sample> {
  for (let tries = 1; tries <= TRIES; tries++) {
    const taken = await sample();
    if (arrived(taken) > 0) return taken;
  }
  throw new Error(`${name}: nothing arrived in any of ${TRIES} samples`);
}
