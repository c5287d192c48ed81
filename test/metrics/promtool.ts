/** Prometheus' own judge of the text. scripts/setup unpacks it for tests, where apt-get can be had. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const UNPACKED = fileURLToPath(new URL('../../../dist/promtool', import.meta.url));

/**
 * What `promtool check metrics` says of `text`: empty if all is well, null where there is no promtool.
 * @throws Error where CI has none
 */
export function promtool(text: string): string | null {
  const program = existsSync(UNPACKED) ? UNPACKED : 'promtool';
  const { error, status, stderr, stdout } = spawnSync(program, ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
    if (process.env.CI) throw new Error('there is no promtool, and CI is to check the metrics with it');
    return null;
  }
  if (error !== undefined) throw error;
  return status === 0 ? stdout + stderr : `${stdout}${stderr}exit code ${status}`;
}
