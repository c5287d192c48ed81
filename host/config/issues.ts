/** What zod found wrong with a document, one line a fault: `path: what is wrong`. */
import type { z } from 'zod';

export function faultLines(issues: readonly z.core.$ZodIssue[], document: unknown): string[] {
  return issues.flatMap(issue => issueLines(issue, document));
}

function issueLines(issue: z.core.$ZodIssue, document: unknown): string[] {
  const path = pathText(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => `${pathText([...issue.path, key])}: unknown key`);
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
  if (value === undefined && issue.path.length > 0 && issue.code === 'invalid_type')
    return [`${path}: required, but missing`];
  const shown =
    typeof value === 'object' || issue.code === 'custom' || value === undefined
      ? ''
      : ` (it is ${shortText(JSON.stringify(value))})`;
  return [`${path}: ${issue.message.replace(/^Invalid input: /, '')}${shown}`];
}

/** `streams[0].targets[1].identifier`; the whole document is `configuration`. */
function pathText(path: readonly PropertyKey[]): string {
  const text = path.map(partText).join('').replace(/^\./, '');
  return text === '' ? 'configuration' : text;
}

function partText(part: PropertyKey): string {
  if (typeof part === 'number') return `[${part}]`;
  return /^[\w+-]+$/.test(String(part)) ? `.${String(part)}` : `[${JSON.stringify(String(part))}]`;
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  let value = document;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

const MOST_SHOWN = 200;

function shortText(text: string): string {
  return text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN)}...`;
}
