/** Prometheus' own judge of the text, where the machine has it: Debian's package of 96 MB is not installed for it. */
import { spawnSync } from 'node:child_process';

/** What `promtool check metrics` says of `text`: empty if all is well, null where there is no promtool. */
export function promtool(text: string): string | null {
  const { error, status, stderr, stdout } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return null;
  if (error !== undefined) throw error;
  return status === 0 ? stdout + stderr : `${stdout}${stderr}exit code ${status}`;
}
