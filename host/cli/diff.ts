/**
 * `magmark diff [FILE]`: what the kernel lacks, and holds too much, as the daemon finds it, and how FILE differs from the
 * configuration in force. Changes nothing.
 */
import { resolve } from 'node:path';
import { readArgument } from '../config/file.js';
import { loadConfig } from '../config/load.js';
import type { Difference, DiffReply } from '../control/api.js';
import { ask } from '../control/client.js';
import { socketPath } from '../control/socket.js';
import { type Color, painted } from './color.js';

const SIGNS: Readonly<Record<Difference['kind'], readonly [sign: string, color: Color]>> = {
  missing: ['+', 'green'],
  changed: ['~', 'yellow'],
  surplus: ['-', 'red'],
  inactive: ['!', 'red'],
  foreign: ['!', 'magenta'],
};

/**
 * @param file a configuration to ask about in place of the one that is in force
 * @returns exit code, as of diff(1): 1 if anything differs
 * @throws ConfigError with one line per fault, ControlError with what the daemon answered
 */
export async function diff(
  file: string | undefined,
  options: { socket?: string; json?: boolean },
): Promise<0 | 1> {
  const differences = await asked(file, socketPath(options.socket));
  process.stdout.write(options.json ? `${JSON.stringify(differences, null, 2)}\n` : diffText(differences));
  return differences.length === 0 ? 0 : 1;
}

async function asked(file: string | undefined, socket: string): Promise<DiffReply> {
  if (file === undefined) return ask<DiffReply>(socket, '/v1/diff');
  const text = await readArgument(file);
  loadConfig(text, file);
  return ask<DiffReply>(socket, `/v1/diff?${new URLSearchParams({ name: resolve(file) })}`, text);
}

/** The kernel's differences; those of a configuration from the one in force precede, under headings. */
export function diffText(differences: DiffReply): string {
  if (differences.length === 0) return 'nothing differs\n';
  const ofConfiguration = differences.filter(each => each.of === 'configuration');
  const ofKernel = differences.filter(each => each.of !== 'configuration');
  if (ofConfiguration.length === 0) return linesText(ofKernel);
  return (
    `configuration:\n${linesText(ofConfiguration)}` +
    `kernel:\n${ofKernel.length === 0 ? 'nothing differs\n' : linesText(ofKernel)}`
  );
}

function linesText(differences: DiffReply): string {
  return differences
    .map(({ kind, what }) => {
      const [sign, color] = SIGNS[kind];
      return `${painted(color, `${sign} ${what}`)}\n`;
    })
    .join('');
}
