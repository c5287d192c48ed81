/**
 * Errors that no part of the daemon expected. The workers decide packets in threads of their own, so one such error is no
 * reason to end them: it is logged with its stack, counted, and a warning of status. Many in a short time are: then the
 * daemon stops in the orderly way, and its supervisor starts another one.
 */
import type { Log } from './log.js';

/** So many within this time: what runs is broken. */
const MOST = 10;
const WITHIN_MS = 60_000;

export class Incidents {
  count = 0;
  private last: Error | null = null;
  /** When the latest ones came. */
  private times: number[] = [];
  private stopping = false;

  constructor(
    private readonly log: Pick<Log, 'error' | 'fatal'>,
    /** Called once, when there are too many. */
    private readonly onTooMany: () => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  note(error: Error): void {
    this.count++;
    this.last = error;
    this.log.error({ err: error }, 'an internal error happened: the daemon goes on');
    const now = this.now();
    this.times = [...this.times.filter(time => now - time < WITHIN_MS), now];
    if (this.times.length <= MOST || this.stopping) return;
    this.stopping = true;
    this.log.fatal({ errors: this.times.length }, 'too many internal errors within a minute: stopping');
    this.onTooMany();
  }

  warnings(): string[] {
    if (this.last === null) return [];
    const [first] = this.last.message.split('\n');
    const more = this.count === 1 ? '' : ` (${this.count} in all)`;
    return [
      `an internal error happened: ${first}${more}; the daemon goes on: see the log, and restart it when convenient`,
    ];
  }
}
