/** From text to a whole `Config`, or an error that lists every fault with its path. Nothing is half-read. */
import { parseDocument } from 'yaml';
import type { Config } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import { faultLines } from './issues.js';
import { resolve } from './resolve.js';
import { schema } from './schema.js';

/** Aliases, counted with all that they expand to: far above what a configuration has, far below what fills a memory. */
const MOST_ALIASES = 100_000;
/** After these the others are echoes. */
const MOST_SYNTAX_FAULTS = 20;
/** A file of this size is not a configuration. */
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

/**
 * @param text YAML 1.2 (JSON is YAML too)
 * @param name of the file, for faults of its syntax
 * @throws ConfigError with one line per fault
 */
export function loadConfig(text: string, name: string): Config {
  const document = readYaml(text, name);
  const checked = schema.safeParse(document);
  if (!checked.success) throw new ConfigError(faultLines(checked.error.issues, document));
  return resolve(checked.data);
}

function readYaml(text: string, name: string): unknown {
  if (text.length > MAX_TEXT_BYTES) throw new ConfigError([`${name}: larger than ${MAX_TEXT_BYTES} bytes`]);
  const document = parseDocument(text, {
    uniqueKeys: true,
    prettyErrors: true,
    strict: true,
    logLevel: 'error',
  });
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) {
    throw new ConfigError(
      problems.slice(0, MOST_SYNTAX_FAULTS).map(problem => {
        const at = problem.linePos?.[0];
        const where = at === undefined ? name : `${name}:${at.line}:${at.col}`;
        return `${where}: ${problem.message.split('\n')[0]!.replace(/ at line \d+, column \d+:$/, '')}`;
      }),
    );
  }
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    // Aliases that expand without bound are found only here.
    throw new ConfigError([`${name}: ${(error as Error).message}`]);
  }
}
