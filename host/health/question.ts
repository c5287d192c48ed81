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

/** The beginning of every failure's words. */
export function attempted(question: Question): string {
  const { host, fwmark, check } = question;
  const what = {
    icmp: `ping ${host.address}`,
    tcp: `connect to ${place(question)}`,
    http: `GET http://${place(question)}${check.path}`,
  };
  return `${what[check.type]} by mark ${fwmark}`;
}

/**
 * What the kernel answered. A mark whose table has no route meets the daemon's blackhole rules, which answer EINVAL: as it
 * stands, nobody would know what that means.
 */
export function answerOf(errno: string): string {
  return errno === 'EINVAL' ? 'EINVAL: there is no route by this mark' : errno;
}
