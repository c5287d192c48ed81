/** Asks by the kind of the check. */
import type { Family } from '../types/config.js';
import { MagmarkError } from '../types/errors.js';
import { type Attempt, failed } from './attempt.js';
import { EchoSocket } from './echo-socket.js';
import { askHttp } from './http.js';
import { attempted, type Question } from './question.js';
import { askTcp } from './tcp.js';

/** Names of the kernel's answers, as messages end. */
const NO_DESCRIPTOR = /\b(EMFILE|ENFILE)\b/;

/** What the checker asks by; a test gives its own. */
export interface Prober {
  ask(question: Question): Attempt;
  /** Nothing may be under way any more. */
  close(): void;
}

export class SocketProber implements Prober {
  readonly #echoSockets = new Map<Family, EchoSocket>();

  /**
   * What cannot even be asked (a right that is missing, no route) is a failure like others, and tried again next time. A lack
   * of file descriptors is none: it would take all targets out of service at once.
   */
  ask(question: Question): Attempt {
    try {
      switch (question.check.type) {
        case 'icmp':
          return this.#echoSocket(question.host.family).ask(question);
        case 'tcp':
          return askTcp(question);
        case 'http':
          return askHttp(question);
      }
    } catch (error) {
      if (!(error instanceof MagmarkError)) throw error;
      const attempt = failed(`${attempted(question)}: ${error.message}`);
      return { ...attempt, unasked: NO_DESCRIPTOR.test(error.message) };
    }
  }

  close(): void {
    for (const socket of this.#echoSockets.values()) socket.close();
    this.#echoSockets.clear();
  }

  #echoSocket(family: Family): EchoSocket {
    const open = this.#echoSockets.get(family) ?? new EchoSocket(family);
    this.#echoSockets.set(family, open);
    return open;
  }
}
