/**
 * What one check asks one address. Contract of this room: a check goes by its target's mark, through the target's own
 * route, whatever address it asks; the daemon says whom to ask and what follows from the answers.
 */
import type { HealthCheck, Host } from '../types/config.js';

export interface Question {
  readonly host: Host;
  readonly fwmark: number;
  readonly check: HealthCheck;
}

/** For messages and Host headers: `20.0.0.1:4000`, `[2000::1]:4000`; without a port the address as it is. */
export function place({ host: { family, address }, check: { port } }: Question): string {
  if (port === null) return address;
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}
