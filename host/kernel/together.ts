/**
 * As `Promise.all`, but what fails is told when all have ended: a batch that still ran would meet the next step, which
 * compares with what the kernel lists.
 * @throws what the first of them threw, in their order
 */
export async function together<Steps extends readonly unknown[] | []>(
  steps: Steps,
): Promise<{ -readonly [Index in keyof Steps]: Awaited<Steps[Index]> }> {
  await Promise.allSettled(steps);
  return Promise.all(steps);
}
