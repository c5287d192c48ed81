/**
 * Protocols that BIRD ended because it could not open a socket, and starts by itself never again: they are started again,
 * with longer waits between. A session of BGP is `down` then. BFD stays `up` without its sockets, and only its log tells.
 */

import type { Gateway } from '../types/config.js';
import { CLOCK, type Clock } from '../util/clock.js';
import { Backoff } from './backoff.js';
import type { BfdOutlook } from './bfd-ports.js';
import { protocolName } from './wanted.js';

export const BFD_PROTOCOL = 'bfd-gateways';

/** sk_log_error in sysdep/unix/io.c: `NAME: Socket error: bind: Address already in use`. */
const BIND_ERROR = /^(?<name>\S+): Socket error: bind: (?<words>.+)$/;
/** BIRD logs the error within milliseconds of a restart. */
const SETTLED_MS = 2000;

interface Attempt {
  readonly backoff: Backoff;
  /** Of the clock; when the next one is due. */
  dueAt: number;
  /** null: none was made. */
  madeAt: number | null;
}

export class Revival {
  /** What the system answered when a protocol wanted to listen, by its name. */
  private readonly words = new Map<string, string>();
  private readonly attempts = new Map<string, Attempt>();

  constructor(private readonly clock: Clock = CLOCK) {}

  /** A line of BIRD's log. */
  hear(text: string): void {
    const groups = BIND_ERROR.exec(text)?.groups;
    if (groups === undefined) return;
    this.words.set(groups.name!, groups.words!);
    // The last restart did not help.
    const attempt = this.attempts.get(groups.name!);
    if (attempt !== undefined) attempt.madeAt = null;
  }

  /**
   * @param stopped protocols that BIRD lists as down
   * @param bfd     of a BFD that could not open its ports
   * @returns commands for BIRD's control socket that are due now
   */
  due(stopped: readonly string[], bfd: BfdOutlook): string[] {
    const now = this.clock.now();
    const wanted = new Map(stopped.map(name => [name, 'enable']));
    if (bfd === 'all-up') this.words.delete(BFD_PROTOCOL);
    if (this.bfdFails) wanted.set(BFD_PROTOCOL, 'restart');
    for (const name of new Set([...this.words.keys(), ...this.attempts.keys()])) {
      const madeAt = this.attempts.get(name)?.madeAt ?? null;
      const isSettled = madeAt !== null && now - madeAt >= SETTLED_MS;
      if (isSettled ? stopped.includes(name) : wanted.has(name) || madeAt !== null) continue;
      this.words.delete(name);
      this.attempts.delete(name);
      wanted.delete(name);
    }
    const commands: string[] = [];
    for (const [name, verb] of wanted) {
      const attempt = this.attempts.get(name) ?? this.begin(name, now);
      if (verb === 'restart' && (bfd !== 'retry' || attempt.madeAt !== null)) continue;
      if (now < attempt.dueAt) continue;
      attempt.dueAt = now + attempt.backoff.next(0);
      attempt.madeAt = now;
      commands.push(`${verb} "${name}"`);
    }
    return commands;
  }

  /** BFD could not open its ports: its outlook matters. */
  get bfdFails(): boolean {
    return this.words.has(BFD_PROTOCOL);
  }

  /** Why the session with `address` cannot begin; null: BIRD was not hindered. */
  reason(gateway: Gateway, address: string): string | null {
    const words = this.words.get(protocolName(address));
    if (words === undefined || gateway.protocol !== 'bgp') return null;
    return `BIRD cannot listen on port ${gateway.localPort}: ${explained(words)}`;
  }

  /** One line for each address of a gateway that waits, and one for BFD. */
  warnings(gateways: readonly Gateway[]): string[] {
    const sessions = gateways.flatMap(gateway =>
      gateway.ips.flatMap(({ address }) => {
        if (!this.waits(protocolName(address))) return [];
        const reason = this.reason(gateway, address) ?? 'BIRD has ended the session, see magmark gateways';
        return [`gateway ${gateway.name}, ${address}: ${reason}; BIRD tries again`];
      }),
    );
    const bfd = this.words.get(BFD_PROTOCOL);
    if (bfd === undefined) return sessions;
    return [
      ...sessions,
      `BIRD cannot open the ports of BFD (UDP 3784 and 4784): ${explained(bfd)}; BIRD tries again`,
    ];
  }

  private waits(name: string): boolean {
    return this.words.has(name) || this.attempts.has(name);
  }

  private begin(name: string, now: number): Attempt {
    const backoff = new Backoff();
    const attempt = { backoff, dueAt: now + backoff.next(0), madeAt: null };
    this.attempts.set(name, attempt);
    return attempt;
  }
}

/** errno's words, with the cause and the cure where there is one. */
function explained(words: string): string {
  if (/in use/.test(words)) return 'another program uses it (see ss -lntup)';
  if (/denied|not permitted/i.test(words))
    return (
      `${words.toLowerCase()}: a port below 1024 needs the capability NET_BIND_SERVICE, ` +
      'or sysctl net.ipv4.ip_unprivileged_port_start'
    );
  return words;
}
