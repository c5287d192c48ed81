/** What the kernel lists of one family, in one process of `ip` for all questions: each process costs some 5 ms. */
import { listJson, parseJson, type Run } from '../programs/command.js';
import type { Family } from '../types/config.js';

/** Questions as `ip` takes them, without options. */
export const RULES = 'rule';
/** Default routes of all tables. */
export const DEFAULT_ROUTES = 'route show table all exact default';
/** Main's routes to the networks of interfaces. */
export const SUBNETS = 'route show table main proto kernel';
export const NEIGHBOURS = 'neigh';

/** @returns the entries of each answer. @throws KernelError */
export async function listAll(
  run: Run,
  family: Family,
  questions: readonly string[],
): Promise<(readonly unknown[])[]> {
  const options = ['-N', '-j', `-${family}`];
  const args = [...options, '-batch', '-'];
  const { stdout } = await run('ip', args, { input: questions.map(question => `${question}\n`).join('') });
  const lines = stdout.split('\n').filter(line => line !== '');
  if (lines.length !== questions.length) {
    // A version of ip that prints nothing where there is nothing, or an answer on several lines.
    return Promise.all(questions.map(question => listJson(run, [...options, ...question.split(' ')])));
  }
  return lines.map(line => parseJson(line, `ip ${args.join(' ')}`) as unknown[]);
}
