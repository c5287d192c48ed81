/** From text to a whole `Config`, or an error that lists every fault with its path. Nothing is half-read. */
import { CORE_SCHEMA, loadAll, YAMLException } from 'js-yaml';
import type { Config } from '../types/config.js';
import { ConfigError } from '../types/errors.js';
import { shown } from '../types/text.js';
import { faultLines } from './issues.js';
import { resolve } from './resolve.js';
import { schema } from './schema.js';

/** Values that aliases add: far above what a configuration has, far below what fills a memory. */
const MOST_ALIASED = 100_000;
/** 100,000 targets of two families have 8 MiB; a file of this size is not a configuration. */
export const MAX_TEXT_BYTES = 16 * 1024 * 1024;

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
  let documents: unknown[];
  try {
    documents = loadAll(text, { schema: CORE_SCHEMA });
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const { mark } = error;
    const where = mark === undefined ? name : `${name}:${mark.line + 1}:${mark.column + 1}`;
    throw new ConfigError([`${where}: ${shown(error.reason)}`]);
  }
  if (documents.length > 1) throw new ConfigError([`${name}: holds ${documents.length} documents, not one`]);
  // Nothing but comments is no document.
  const [document = null] = documents;
  const distinct = new Map<object, number>();
  const expanded = sizeOf(document, distinct);
  const own = [...distinct.keys()].reduce((sum, value) => sum + 1 + Object.keys(value).length, 0);
  if (expanded > own + MOST_ALIASED) {
    throw new ConfigError([`${name}: its aliases expand to ${expanded} values: more than can be meant`]);
  }
  return document;
}

/** Values in `value`, those that aliases repeat counted each time. @param known sizes of the objects that were met */
function sizeOf(value: unknown, known: Map<object, number>): number {
  if (typeof value !== 'object' || value === null) return 1;
  const before = known.get(value);
  if (before !== undefined) return before;
  // What holds itself has no end.
  known.set(value, Number.POSITIVE_INFINITY);
  const size = Object.values(value).reduce((sum: number, part) => sum + sizeOf(part, known), 1);
  known.set(value, size);
  return size;
}
