/** Many changes of rules and routes in few processes of `ip`. */

import { isPartial, type Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import { JSON_OPTIONS, listAll, readAnswers } from './listing.js';

/**
 * Each rule of IPv6 that comes or goes makes the kernel walk all tables of IPv6: with 10,000 of them this many lines
 * take about 0.9 s, so that a piece that meets its bound hangs, however loaded the machine is.
 */
const PIECE_LINES = 500;
const PIECE_BOUND_MS = 60_000;

const FAILED_LINE = /^Command failed -:(\d+)$/;

/** ip's exit code where the kernel refuses a line about a neighbour: ip ends there, also with `-force`. */
const ENDED = 2;
/** Each line at which ip ends costs some ten processes of it. */
const MOST_ENDS = 8;
const isNeighbour = (line: string): boolean => line.startsWith('neigh ');

export interface Answered {
  /** Index of each line that failed, with what the kernel answered. */
  readonly failures: ReadonlyMap<number, string>;
  /** Entries of each answer, in the order of the questions. */
  readonly answers: (readonly unknown[])[];
}

/**
 * Run `lines` in their order through `ip -batch`, some hundreds at a time; a line that fails does not stop those behind
 * it.
 * @param lines those about neighbours come last: ip ends at one that the kernel refuses, and the others are run again
 * @returns index of each line that failed, with what the kernel answered
 * @throws KernelError if ip gave up on the batch: it ends at a line that it cannot read
 */
export async function runBatch(
  run: Run,
  family: Family,
  lines: readonly string[],
): Promise<ReadonlyMap<number, string>> {
  return (await runBatchAndAsk(run, family, lines, [])).failures;
}

/** As `runBatch`, and list what the kernel holds then: in the last of its processes, since each costs some 5 ms. */
export async function runBatchAndAsk(
  run: Run,
  family: Family,
  lines: readonly string[],
  questions: readonly string[],
): Promise<Answered> {
  const failures = new Map<number, string>();
  let asked: (readonly unknown[])[] | null = null;
  for (let first = 0; first < lines.length; first += PIECE_LINES) {
    const isLast = first + PIECE_LINES >= lines.length;
    const piece = lines.slice(first, first + PIECE_LINES);
    const { failed, answers } = await runPiece(run, family, piece, isLast ? questions : []);
    for (const [index, answer] of failed) failures.set(first + index, answer);
    asked = answers;
  }
  if (questions.length === 0) return { failures, answers: [] };
  return { failures, answers: asked ?? (await listAll(run, family, questions)) };
}

interface PieceAnswered {
  readonly failed: Map<number, string>;
  readonly answers: (readonly unknown[])[] | null;
}

async function runPiece(
  run: Run,
  family: Family,
  lines: readonly string[],
  questions: readonly string[],
): Promise<PieceAnswered> {
  const failed = new Map<number, string>();
  let left = [...lines.keys()];
  for (let ends = 1; ; ends++) {
    const part = await runPart(
      run,
      family,
      left.map(index => lines[index]!),
      questions,
    );
    for (const [index, answer] of part.failed) failed.set(left[index]!, answer);
    if (part.ended === null) return { failed, answers: part.answers };
    left = left.filter(index => isNeighbour(lines[index]!) && !failed.has(index));
    const given = ends < MOST_ENDS ? [await endsAt(run, family, lines, left)] : left;
    for (const index of given) failed.set(index, part.ended);
    left = left.filter(index => index > given.at(-1)!);
  }
}

/** Which of `left`, indexes of lines that may be run again, is the first that ends ip: the last, if the others do not. */
async function endsAt(
  run: Run,
  family: Family,
  lines: readonly string[],
  left: readonly number[],
): Promise<number> {
  if (left.length === 1) return left[0]!;
  const half = left.slice(0, Math.ceil(left.length / 2));
  const { ended } = await runPart(
    run,
    family,
    half.map(index => lines[index]!),
    [],
  );
  return endsAt(run, family, lines, ended === null ? left.slice(half.length) : half);
}

interface PartAnswered extends PieceAnswered {
  /** What the kernel answered to the line at which ip ended; null: it ran all. */
  readonly ended: string | null;
}

/** One process. */
async function runPart(
  run: Run,
  family: Family,
  lines: readonly string[],
  questions: readonly string[],
): Promise<PartAnswered> {
  const options = questions.length > 0 ? JSON_OPTIONS : [];
  const { exitCode, stderr, stdout } = await run('ip', [...options, `-${family}`, '-force', '-batch', '-'], {
    input: [...lines, ...questions].map(line => `${line}\n`).join(''),
    allowFailure: true,
    boundMs: PIECE_BOUND_MS,
  });
  const failed = parseFailures(stderr);
  const questionFailed = [...failed.keys()].some(index => index >= lines.length);
  if (
    exitCode === ENDED &&
    !questionFailed &&
    lines.some((line, index) => isNeighbour(line) && !failed.has(index))
  )
    return { failed, answers: null, ended: stderr.trim().split('\n').at(-1)! };
  if (questionFailed || (exitCode !== 0 && (exitCode !== 1 || failed.size === 0))) {
    const shown = lines.length === 1 ? ` (${lines[0]})` : '';
    throw new KernelError(`ip -${family} -batch${shown}: exit code ${exitCode}: ${stderr.trim()}`);
  }
  const isWhole = questions.length > 0 && !isPartial(stderr);
  return { failed, answers: isWhole ? readAnswers(stdout, questions.length) : null, ended: null };
}

/** ip prints what is wrong, then `Command failed -:LINE`, lines from 1. */
export function parseFailures(stderr: string): Map<number, string> {
  const failures = new Map<number, string>();
  let words: string[] = [];
  for (const line of stderr.split('\n')) {
    const match = FAILED_LINE.exec(line);
    if (match === null) {
      if (line !== '') {
        words.push(line.trim());
      }
    } else {
      failures.set(Number(match[1]) - 1, words.join('; ') || 'no reason given');
      words = [];
    }
  }
  return failures;
}
