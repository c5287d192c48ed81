/** `magmark health [--ready]`: one line a condition, and an exit code for whoever supervises. */
import type { HealthReply } from '../control/api.js';
import { askHealth } from '../control/client.js';
import { socketPath } from '../control/socket.js';
import { painted } from './color.js';

export interface HealthOptions {
  readonly socket?: string;
  readonly ready?: boolean;
  readonly json?: boolean;
}

/** Exit code 1 where a condition does not hold. @throws ControlError if nobody answers */
export async function health({ socket, ready, json }: HealthOptions): Promise<void> {
  const reply = await askHealth(socketPath(socket), ready ? '/v1/ready' : '/v1/health');
  process.stdout.write(json ? `${JSON.stringify(reply, null, 2)}\n` : healthText(reply, ready ?? false));
  if (!reply.ok) process.exitCode = 1;
}

function healthText({ ok, conditions }: HealthReply, ready: boolean): string {
  const width = Math.max(...conditions.map(({ name }) => name.length));
  const lines = conditions.map(
    condition =>
      `${condition.ok ? painted('green', 'ok ') : painted('red', 'NOT')} ${condition.name.padEnd(width)}  ${condition.detail}`,
  );
  return `${ok ? '' : 'not '}${ready ? 'ready' : 'alive'}\n${lines.join('\n')}\n`;
}
