/** The command line of a benchmark: its options, its help, and what is wrong with what it was given. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { MagmarkError } from '../../host/types/errors.js';

export class UsageError extends MagmarkError {
  readonly code = 'USAGE';
  override readonly exitCode = 2;
}

type Settings = NonNullable<ParseArgsConfig['options']>;
/** An option of `parseArgs`, with what `--help` prints of it. */
type Described = Readonly<
  Record<string, Settings[string] & { readonly value?: string; readonly help: string }>
>;

/**
 * The options that this process was given. `--help` prints the usage and ends the process with 0.
 * @param about what the benchmark measures, in one line
 * @throws UsageError
 */
export function optionsOf<const Options extends Described>(
  benchmark: string,
  about: string,
  options: Options,
): ReturnType<typeof parseArgs<{ readonly options: Options }>>['values'] {
  const settings = { ...options, help: { type: 'boolean', default: false, help: 'this text' } } as const;
  try {
    const { values } = parseArgs({ args: process.argv.slice(2), options: settings as Options });
    if (!(values as { readonly help?: boolean }).help) return values;
  } catch (error) {
    throw new UsageError(`${benchmark}: ${(error as Error).message}`);
  }
  process.stdout.write(usageText(benchmark, about, settings));
  process.exit(0);
}

/** What `--help` prints. */
export function usageText(benchmark: string, about: string, options: Described): string {
  const rows = Object.entries(options).map(([name, { type, value = 'N', default: preset, help }]) => ({
    left: `  --${name}${type === 'boolean' ? '' : ` ${value}`}`,
    right: `${help}${type === 'boolean' || preset === undefined ? '' : ` (default ${preset})`}`,
  }));
  const width = Math.max(...rows.map(({ left }) => left.length)) + 2;
  const lines = rows.map(({ left, right }) => `${left.padEnd(width)}${right}\n`);
  return `usage: npm run ${benchmark} -- [options]\n\n${about}\nProgress goes to stderr.\n\n${lines.join('')}`;
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
