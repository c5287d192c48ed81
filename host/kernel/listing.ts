/** What the kernel lists of one family, in one process of `ip` for all questions: each process costs some 5 ms. */
import { listJson, parseJson, type Run } from '../programs/command.js';
import type { Family } from '../types/config.js';

/** Questions as `ip` takes them, without options. */
export const RULES = 'rule';
/** Default routes of all tables. */
export const DEFAULT_ROUTES = 'route show table all exact default';
/**
 * Main's routes by which the kernel may find the interface of a next hop: those that it made for interfaces' addresses,
 * and those that administrators made.
 */
export const LINK_ROUTES = ['kernel', 'boot', 'static'].map(
  protocol => `route show table main proto ${protocol}`,
);
/** All routes of one table. */
export const tableRoutes = (table: number): string => `route show table ${table}`;
export const NEIGHBOURS = 'neigh';

/** @returns the entries of each answer. @throws KernelError */
export async function listAll(
  run: Run,
  family: Family,
  questions: readonly string[],
): Promise<(readonly unknown[])[]> {
  const args = [...JSON_OPTIONS, `-${family}`, '-batch', '-'];
  const { stdout } = await run('ip', args, { input: questions.map(question => `${question}\n`).join('') });
  return (
    readAnswers(stdout, questions.length) ??
    Promise.all(
      questions.map(question => listJson(run, [...JSON_OPTIONS, `-${family}`, ...question.split(' ')])),
    )
  );
}

/** Numbers where names could stand, and JSON: one line an answer. */
export const JSON_OPTIONS = ['-N', '-j'];

/** null: a version of ip that prints nothing where there is nothing, or an answer on several lines. @throws KernelError */
export function readAnswers(stdout: string, count: number): (readonly unknown[])[] | null {
  const lines = stdout.split('\n').filter(line => line !== '');
  return lines.length === count ? lines.map(line => parseJson(line, 'ip -j -batch') as unknown[]) : null;
}
