/** Files of this room: what goes wrong with one is told with its path and what was attempted. */
import { EnvironmentError } from '../types/errors.js';

/**
 * Do one `step` with the file at `path`.
 * @param attempted what the step does, for the message: `write journal`
 * @throws EnvironmentError in place of the file system's own error, which names no file once that is open
 */
export async function onFile<Result>(
  attempted: string,
  path: string,
  step: () => Promise<Result>,
): Promise<Result> {
  try {
    return await step();
  } catch (error) {
    throw new EnvironmentError(`cannot ${attempted} ${path}: ${(error as Error).message}`, { cause: error });
  }
}
