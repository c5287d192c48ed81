/** What is wrong with the command line of a benchmark. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { MagmarkError } from '../../host/types/errors.js';

export class UsageError extends MagmarkError {
  readonly code = 'USAGE';
  override readonly exitCode = 2;
}

/** What this process was given. @throws UsageError */
export function optionsOf<const Options extends NonNullable<ParseArgsConfig['options']>>(
  benchmark: string,
  options: Options,
): ReturnType<typeof parseArgs<{ readonly options: Options }>>['values'] {
  try {
    return parseArgs({ args: process.argv.slice(2), options }).values;
  } catch (error) {
    throw new UsageError(`${benchmark}: ${(error as Error).message}`);
  }
}

/** A count of an option. @throws UsageError */
export function countOf(benchmark: string, option: string, text: string): number {
  if (!/^[1-9][0-9]{0,9}$/.test(text))
    throw new UsageError(`${benchmark}: --${option} takes a number from 1 on, not ${text}`);
  return Number(text);
}

/** End with the exit code of `main`; an error that is ours is its message alone. */
export async function endWith(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof MagmarkError)) throw error;
    console.error(error.message);
    process.exitCode = error.exitCode;
  }
}
