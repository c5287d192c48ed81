/** When sessions changed, and what the log tells of it: up with info, down with its reason as a warning. */
import { CLOCK, type Clock } from '../util/clock.js';
import type { SessionState } from './session.js';
import type { FrontendLog } from './wanted.js';

/** Above what BIRD's times vary by from listing to listing, below the time that a session takes to come back. */
const SAME_TIME_MS = 100;
/** A session comes up within seconds: one that does not is logged, though nothing changed. */
const PATIENCE_MS = 10_000;

interface Known {
  state: SessionState;
  readonly seenAt: number;
  /** The log has its present state. */
  logged: boolean;
}

export class Transitions {
  /** By address. */
  private known = new Map<string, Known>();

  constructor(
    private readonly log: FrontendLog,
    private readonly clock: Clock = CLOCK,
  ) {}

  /**
   * Log what changed. `since` is the time at which `up` or `bfd` changed: BIRD's own where that is newer, else now.
   * BIRD's times vary by a millisecond between listings, and start again when it tries again.
   * @returns `sessions`, each with this `since`
   */
  next(sessions: readonly SessionState[]): SessionState[] {
    const next = new Map<string, Known>();
    for (const session of sessions) {
      const former = this.known.get(session.address);
      next.set(session.address, former === undefined ? this.first(session) : this.later(session, former));
    }
    this.known = next;
    return [...next.values()].map(({ state }) => state);
  }

  private first(state: SessionState): Known {
    if (state.up) this.write(state);
    return { state, seenAt: this.clock.now(), logged: state.up };
  }

  private later(session: SessionState, known: Known): Known {
    const former = known.state;
    // BFD that a reload adds or removes is no change of the gateway.
    const isMonitored = session.bfd !== 'none' && former.bfd !== 'none';
    const changed = session.up !== former.up || (isMonitored && session.bfd !== former.bfd);
    if (changed) {
      const state = { ...session, since: this.changedAt(session.since, former.since) };
      this.write(state);
      return { ...known, state, logged: true };
    }
    const state = { ...session, since: unchangedSince(session, former) };
    if (!known.logged && this.clock.now() - known.seenAt >= PATIENCE_MS) {
      this.write(state);
      return { ...known, state, logged: true };
    }
    return { ...known, state };
  }

  /** BIRD's time of a static route is that of its start, whatever happened to the gateway. */
  private changedAt(since: string | null, before: string | null): string {
    const isNewer =
      since !== null && (before === null || Date.parse(since) - Date.parse(before) >= SAME_TIME_MS);
    return isNewer ? since : new Date(this.clock.date()).toISOString();
  }

  private write({ gateway, address, protocol, up, bfd, info }: SessionState): void {
    const fields = { gateway, address, protocol, bfd };
    if (up) this.log.info(fields, 'gateway is up');
    else this.log.warn({ ...fields, reason: info }, 'gateway is down');
  }
}

/** A session that is up and began later than known has been away for a moment. */
function unchangedSince({ since, up }: SessionState, former: SessionState): string | null {
  if (former.since === null || since === null) return former.since ?? since;
  return up && Date.parse(since) - Date.parse(former.since) >= SAME_TIME_MS ? since : former.since;
}
