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

export interface Answered {
  /** Index of each line that failed, with what the kernel answered. */
  readonly failures: ReadonlyMap<number, string>;
  /** Entries of each answer, in the order of the questions. */
  readonly answers: (readonly unknown[])[];
}

/**
 * Run `lines` in their order through `ip -batch`, some hundreds at a time; a line that fails does not stop those behind
 * it.
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

async function runPiece(
  run: Run,
  family: Family,
  lines: readonly string[],
  questions: readonly string[],
): Promise<{ failed: Map<number, string>; answers: (readonly unknown[])[] | null }> {
  const options = questions.length > 0 ? JSON_OPTIONS : [];
  const result = await run('ip', [...options, `-${family}`, '-force', '-batch', '-'], {
    input: [...lines, ...questions].map(line => `${line}\n`).join(''),
    allowFailure: true,
    boundMs: PIECE_BOUND_MS,
  });
  const failed = parseFailures(result.stderr);
  const questionFailed = [...failed.keys()].some(index => index >= lines.length);
  if (questionFailed || (result.exitCode !== 0 && (result.exitCode !== 1 || failed.size === 0))) {
    const shown = lines.length === 1 ? ` (${lines[0]})` : '';
    throw new KernelError(
      `ip -${family} -batch${shown}: exit code ${result.exitCode}: ${result.stderr.trim()}`,
    );
  }
  const isWhole = questions.length > 0 && !isPartial(result.stderr);
  return { failed, answers: isWhole ? readAnswers(result.stdout, questions.length) : null };
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
