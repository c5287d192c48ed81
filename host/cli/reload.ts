/** `magmark reload`: the daemon reads its file again, as with SIGHUP, and says what came of it. */
import type { ReloadReply } from '../control/api.js';
import { askPatiently } from '../control/patience.js';
import { socketPath } from '../control/socket.js';
import { someoneStarts } from '../lock/namespace-lock.js';

/** @throws ControlError with what the daemon answered: each fault of the file; nothing was changed then */
export async function reload(options: { socket?: string; json?: boolean }): Promise<void> {
  const patience = { unseenMs: 0, isStarting: someoneStarts };
  const reply = await askPatiently<ReloadReply>(socketPath(options.socket), '/v1/reload', '', patience);
  for (const warning of reply.warnings) process.stderr.write(`warning: ${warning}\n`);
  process.stdout.write(options.json ? `${JSON.stringify(reply, null, 2)}\n` : reloadText(reply));
}

function reloadText({ file, generation, lastChange }: ReloadReply): string {
  const lines = (['added', 'removed', 'changed'] as const)
    .map(kind => ({ kind, names: lastChange?.[kind] ?? [] }))
    .filter(({ names }) => names.length > 0)
    .map(({ kind, names }) => `${kind}: ${names.join(', ')}`);
  const changes = lines.length === 0 ? ['the configuration is as before'] : lines;
  return `${[`${file}: reloaded, generation ${generation}`, ...changes].join('\n')}\n`;
}
