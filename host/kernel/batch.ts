/** Many changes of rules and routes in few processes of `ip`. */

import type { Run } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { KernelError } from '../types/errors.js';

/**
 * Each rule of IPv6 that comes or goes makes the kernel walk all tables of IPv6: with 10,000 of them this many lines
 * take about 0.9 s, so that a piece that meets its bound hangs, however loaded the machine is.
 */
const PIECE_LINES = 500;
const PIECE_BOUND_MS = 60_000;

const FAILED_LINE = /^Command failed -:(\d+)$/;

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
): Promise<Map<number, string>> {
  const failures = new Map<number, string>();
  for (let first = 0; first < lines.length; first += PIECE_LINES) {
    const failed = await runPiece(run, family, lines.slice(first, first + PIECE_LINES));
    for (const [index, answer] of failed) {
      failures.set(first + index, answer);
    }
  }
  return failures;
}

async function runPiece(run: Run, family: Family, lines: readonly string[]): Promise<Map<number, string>> {
  const input = `${lines.join('\n')}\n`;
  const result = await run('ip', [`-${family}`, '-force', '-batch', '-'], {
    input,
    allowFailure: true,
    boundMs: PIECE_BOUND_MS,
  });
  const failures = parseFailures(result.stderr);
  if (result.exitCode !== 0 && (result.exitCode !== 1 || failures.size === 0)) {
    const shown = lines.length === 1 ? ` (${lines[0]})` : '';
    throw new KernelError(
      `ip -${family} -batch${shown}: exit code ${result.exitCode}: ${result.stderr.trim()}`,
    );
  }
  return failures;
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
