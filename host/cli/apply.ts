/** `magmark apply FILE`: the file is read here, checked here and there, and brought about by the daemon. */
import { resolve } from 'node:path';
import { readArgument } from '../config/file.js';
import { loadConfig } from '../config/load.js';
import type { ApplyReply } from '../control/api.js';
import { ask } from '../control/client.js';
import { socketPath } from '../control/socket.js';
import { printable } from '../types/text.js';

/** @throws ConfigError with one line per fault, ControlError with what the daemon answered */
export async function apply(file: string, options: { socket?: string; json?: boolean }): Promise<void> {
  const text = await readArgument(file);
  loadConfig(text, file);
  const query = new URLSearchParams({ name: resolve(file) });
  const reply = await ask<ApplyReply>(socketPath(options.socket), `/v1/apply?${query}`, text);
  for (const warning of reply.warnings) process.stderr.write(`warning: ${warning}\n`);
  process.stdout.write(
    options.json
      ? `${JSON.stringify(reply, null, 2)}\n`
      : `${printable(file)}: applied, generation ${reply.generation}\n`,
  );
}
