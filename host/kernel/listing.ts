/** What the kernel lists of one family, in one process of `ip` for all questions: each process costs some 5 ms. */
import { listJson, listWhole, parseEntries, type Run } from '../programs/command.js';
import type { Family } from '../types/config.js';

/** Questions as `ip` takes them, without options. */
export const RULES = 'rule';
/** All routes of all tables; those of main bear no table. */
export const ALL_ROUTES = 'route show table all';
/** Default routes of all tables. */
export const DEFAULT_ROUTES = 'route show table all exact default';
/**
 * Main's routes by which the kernel may find the interface of a next hop; those that it made for interfaces' addresses come
 * first. IPv4: all that it would look at, whoever made them. IPv6 has no scopes to ask for, and all of main may be somebody's
 * BGP: those of administrators, router advertisements and DHCP.
 */
export const LINK_ROUTES: Readonly<Record<Family, readonly string[]>> = {
  4: ['proto kernel', 'scope link'].map(which => `route show table main ${which}`),
  6: ['kernel', 'boot', 'static', 'ra', 'dhcp'].map(protocol => `route show table main proto ${protocol}`),
};
/**
 * All routes of one table. In a batch, `ip` has the kernel list the routes of all tables for each such question, and
 * chooses: 7 ms (IPv6: 11) of 10,000 tables.
 */
export const tableRoutes = (table: number): string => `route show table ${table}`;
export const defaultRoutesOf = (table: number): string => `route show table ${table} exact default`;
/** What the kernel delivers to this host itself, or drops, before it asks other tables. */
export const LOCAL_ROUTES = 'route show table local';
export const neighboursAt = (address: string): string => `neigh show to ${address}`;
export const NEIGHBOURS = 'neigh';

/** @returns the entries of each answer. @throws KernelError */
export async function listAll(
  run: Run,
  family: Family,
  questions: readonly string[],
): Promise<(readonly unknown[])[]> {
  const args = [...JSON_OPTIONS, `-${family}`, '-batch', '-'];
  const input = questions.map(question => `${question}\n`).join('');
  const stdout = await listWhole(run, args, { input });
  return (
    readAnswers(stdout, questions.length) ??
    Promise.all(
      questions.map(question => listJson(run, [...JSON_OPTIONS, `-${family}`, ...question.split(' ')])),
    )
  );
}

/** Numbers where names could stand, and JSON: one line an answer. */
export const JSON_OPTIONS = ['-N', '-j'];

/** null: each question is asked by itself, since the answers are not one line each. @throws KernelError */
export function readAnswers(stdout: string, count: number): (readonly unknown[])[] | null {
  const lines = stdout.split('\n').filter(line => line !== '');
  return lines.length === count ? lines.map(entriesOf) : null;
}

/** Texts of more characters than this are kept with what they say. */
const LONG = 10_000;
const KEPT_TEXTS = 8;
const kept = new Map<string, unknown[]>();

/** A listing of thousands that reads as before gives the same objects: what was worked out of them stands too. */
function entriesOf(line: string): unknown[] {
  if (line.length <= LONG) return parseEntries(line, 'ip -j -batch');
  const before = kept.get(line);
  const entries = before ?? parseEntries(line, 'ip -j -batch');
  kept.delete(line);
  kept.set(line, entries);
  if (kept.size > KEPT_TEXTS) kept.delete(kept.keys().next().value!);
  return entries;
}
