/**
 * Runs one benchmark as a process of its own: what the one before left in memory or compiled is not the next one's. It has a
 * process group of its own too, so that it can be ended with all that it started.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Part } from './parts.js';

export interface Outcome {
  /** What it printed; null: nothing that could be read. */
  readonly report: unknown;
  /** null: what it printed can be used. */
  readonly fault: string | null;
}

/** What each of them ends with if a target is missed. */
const MISSED = 1;

/**
 * @param stop      its group is ended when this is aborted, and cleans up
 * @param temporary where it makes temporary files
 */
export async function run(
  part: Part,
  quick: boolean,
  { stop, temporary }: { stop?: AbortSignal; temporary?: string } = {},
): Promise<Outcome> {
  const { script: name, options, quick: hurried } = part;
  const script = fileURLToPath(new URL(`../${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [script, '--json', ...options, ...(quick ? hurried : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...(temporary !== undefined && { TMPDIR: temporary }) },
    detached: true,
  });
  // Not SIGINT: who was started in the background of a shell may ignore that.
  const end = () => process.kill(-child.pid!, 'SIGTERM');
  stop?.addEventListener('abort', end);
  const [printed, [code, signal]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  stop?.removeEventListener('abort', end);
  const ended = signal === null ? `exit ${code}` : `ended by ${signal}`;
  let report: unknown;
  try {
    report = JSON.parse(printed);
  } catch (error) {
    return { report: null, fault: `${ended}, and what it printed is no JSON: ${(error as Error).message}` };
  }
  return { report, fault: code === 0 || code === MISSED ? part.fault(report) : ended };
}
