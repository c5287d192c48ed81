/**
 * Options as nfqlb takes them (getopt_long_only(3)): `--name=value`, `--name value`, `-name value`, unique beginnings of
 * names, in any order with other arguments; `--` ends them.
 */
import { MagmarkError } from '../types/errors.js';

/** The command line is wrong: nothing was asked of anybody. */
export class UsageError extends MagmarkError {
  readonly code = 'USAGE';
}

export interface Option {
  readonly help: string;
  /** It takes no value. */
  readonly flag?: true;
  readonly required?: true;
  /** In nfqlb, without effect here. */
  readonly ignored?: true;
}

export type Options = Readonly<Record<string, Option>>;

export interface Arguments {
  /** By name; a flag has the empty text. */
  readonly values: ReadonlyMap<string, string>;
  /** What is no option. */
  readonly rest: readonly string[];
  readonly help: boolean;
}

/** Where the daemon is asked, on every command. */
const SOCKET: Options = {
  socket: { help: "control socket; default: $MAGMARK_SOCKET, then the namespace's" },
};
const HELP: Options = { help: { help: 'this text', flag: true } };

/** @throws UsageError */
export function parseArguments(args: readonly string[], own: Options): Arguments {
  const options: Options = { ...own, ...SOCKET, ...HELP };
  const values = new Map<string, string>();
  const rest: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const text = args[at]!;
    if (text === '--') {
      rest.push(...args.slice(at + 1));
      break;
    }
    const match = /^--?([A-Za-z][^=]*)(?:=(.*))?$/s.exec(text);
    if (match === null) {
      rest.push(text);
      continue;
    }
    const name = fullName(match[1]!, options);
    let value = match[2];
    if (options[name]!.flag) {
      if (value !== undefined) throw new UsageError(`--${name} takes no value`);
      value = '';
    } else if (value === undefined) {
      value = args[++at];
      if (value === undefined) throw new UsageError(`--${name} needs a value`);
    }
    values.set(name, value);
  }
  const help = values.has('help');
  const missing = Object.keys(own).filter(name => own[name]!.required && !values.has(name));
  if (!help && missing.length > 0)
    throw new UsageError(missing.map(name => `Missing option [--${name}]: ${own[name]!.help}`).join('\n'));
  return { values, rest, help };
}

function fullName(text: string, options: Options): string {
  if (text === 'h') return 'help';
  if (Object.hasOwn(options, text)) return text;
  const found = Object.keys(options).filter(name => name.startsWith(text));
  if (found.length === 1) return found[0]!;
  throw new UsageError(
    found.length === 0
      ? `there is no option --${text}; there are ${Object.keys(options)
          .map(name => `--${name}`)
          .join(', ')}`
      : `--${text} may be ${found.map(name => `--${name}`).join(' or ')}`,
  );
}

export function helpText(command: string, usage: string, own: Options): string {
  const lines = Object.entries({ ...own, ...SOCKET }).map(
    ([name, { help, flag, required, ignored }]) =>
      `  --${name}${flag ? '' : '='} ${help}${required ? ' (required)' : ''}${ignored ? ' (accepted, without effect)' : ''}`,
  );
  return [`${command} ${usage}`.trimEnd(), ...lines, ''].join('\n');
}

/**
 * The whole number in `text`, decimal.
 * @param what names it in the message, for example `--index`
 * @throws UsageError
 */
export function wholeNumber(what: string, text: string, least: number, most: number): number {
  const number = /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= least && number <= most))
    throw new UsageError(
      `${what}: ${text === '' ? 'nothing' : text} is not a whole number from ${least} to ${most}`,
    );
  return number;
}
