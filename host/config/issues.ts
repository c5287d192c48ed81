/** What zod found wrong with a document, one line a fault: `path: what is wrong`. */
import type { z } from 'zod';
import { MOST_FAULTS } from '../types/errors.js';
import { shown } from '../types/text.js';
import { uncheckedOf } from './list.js';

/** MOST_FAULTS lines at most, and one that says how many more there are. */
export function faultLines(issues: readonly z.core.$ZodIssue[], document: unknown): string[] {
  const lines: string[] = [];
  let found = 0;
  let unchecked = 0;
  for (const issue of issues) {
    const skipped = uncheckedOf(issue);
    unchecked += skipped;
    if (skipped > 0) continue;
    // Each unknown key is a fault of its own; there may be a million in one issue.
    found += issue.code === 'unrecognized_keys' ? issue.keys.length : 1;
    if (lines.length < MOST_FAULTS)
      lines.push(...issueLines(issue, document).slice(0, MOST_FAULTS - lines.length));
  }
  const more = found - lines.length;
  if (unchecked > 0)
    lines.push(`and ${more === 0 ? '' : `${more} more faults, and `}${unchecked} more entries, not checked`);
  else if (more > 0) lines.push(`and ${more} more faults`);
  return lines;
}

function issueLines(issue: z.core.$ZodIssue, document: unknown): string[] {
  const path = pathText(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.slice(0, MOST_FAULTS).map(key => `${pathText([...issue.path, key])}: unknown key`);
  }
  if (issue.code === 'invalid_union') {
    const inner = issue.errors
      .flat()
      .filter(each => each.code === 'custom' || each.code === 'too_big' || each.code === 'too_small');
    if (inner.length > 0)
      return inner.slice(0, 1).flatMap(each => issueLines({ ...each, path: issue.path }, document));
  }
  if (issue.code === 'too_small' && issue.origin === 'array') return [`${path}: must not be empty`];
  const value = valueAt(document, issue.path);
  if (issue.code === 'too_big' && issue.origin === 'array')
    return [`${path}: ${(value as unknown[]).length} entries, and at most ${issue.maximum} are possible`];
  if (value === undefined && issue.path.length > 0 && issue.code === 'invalid_type')
    return [`${path}: required, but missing`];
  const itIs =
    typeof value === 'object' || issue.code === 'custom' || value === undefined
      ? ''
      : ` (it is ${shown(JSON.stringify(typeof value === 'string' ? shown(value) : value))})`;
  return [`${path}: ${issue.message.replace(/^Invalid input: /, '')}${itIs}`];
}

/** `streams[0].targets[1].identifier`; the whole document is `configuration`. */
function pathText(path: readonly PropertyKey[]): string {
  const text = path.map(partText).join('').replace(/^\./, '');
  return text === '' ? 'configuration' : text;
}

function partText(part: PropertyKey): string {
  if (typeof part === 'number') return `[${part}]`;
  const key = shown(String(part));
  return /^[\w+-]+$/.test(String(part)) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  let value = document;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}
