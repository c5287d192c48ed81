/** A measurement that leaves nothing behind. */

const SIGNALS = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const;

/**
 * Call `measure`, and `remove` once when it ended, failed or was interrupted.
 * @returns the exit code of `measure`, or of the signal that interrupted it
 */
export async function removedAtEnd(
  measure: () => Promise<number>,
  remove: () => Promise<unknown>,
): Promise<number> {
  let removed: Promise<unknown> | null = null;
  const removeOnce = (): Promise<unknown> => {
    removed ??= remove();
    return removed;
  };
  let interrupted: number | null = null;
  for (const [signal, code] of SIGNALS)
    process.on(signal, () => {
      interrupted = code;
      // What is being measured fails when its programs are ended.
      removeOnce().then(() => process.exit(code));
    });
  try {
    return await measure();
  } catch (error) {
    if (interrupted === null) throw error;
    return interrupted;
  } finally {
    await removeOnce();
  }
}
