/**
 * When one thing is repaired again. A repair that does not help is tried after longer and longer times; a thing that
 * others change again and again is repaired at once each time. Both are warnings. Pure: the clock is a parameter.
 */

/** Asked for each thing that differs, before it is repaired: `table inet meridio-nfqlb`, `ip -4 rule add ...`. */
export interface RepairGate {
  /** Whether `what` is to be repaired now. */
  allows(what: string): boolean;
  /** `what` was repaired, as far as the kernel says. */
  repaired(what: string): void;
}

/** Of a change of configuration: it repairs whatever differs. */
export const ALL_REPAIRS: RepairGate = { allows: () => true, repaired: () => {} };

/** Of a comparison: it changes nothing. */
export const NO_REPAIRS: RepairGate = { allows: () => false, repaired: () => {} };

/** The first repairs follow at once: what differs after one of them may have been changed since. */
const FREE_REPAIRS = 2;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
/** So many repairs of one thing in so long: somebody changes it again and again. */
const CONTEST_REPAIRS = 5;
const CONTEST_MS = 60_000;

interface Record {
  /** Repairs in a row after each of which it differed as before. */
  vain: number;
  /** Repaired, and not compared since. */
  isOpen: boolean;
  /** Not repaired before. */
  nextAt: number;
  /** Of the repairs in the last CONTEST_MS. */
  times: number[];
}

export class Repairs implements RepairGate {
  private readonly records = new Map<string, Record>();
  /** What differs in this round. */
  private readonly differing = new Set<string>();

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** A comparison of everything begins. */
  beginRound(): void {
    this.differing.clear();
  }

  allows(what: string): boolean {
    this.differing.add(what);
    const record = this.records.get(what);
    if (record === undefined) return true;
    if (record.isOpen) {
      record.isOpen = false;
      record.vain += 1;
      record.nextAt = this.now() + waitMs(record.vain);
    }
    return this.now() >= record.nextAt;
  }

  repaired(what: string): void {
    const record = this.records.get(what) ?? { vain: 0, isOpen: true, nextAt: 0, times: [] };
    record.isOpen = true;
    record.times = [...this.recent(record), this.now()];
    this.records.set(what, record);
  }

  /** Everything was compared: what did not differ is as it is wanted. */
  endRound(): void {
    for (const [what, record] of this.records) {
      if (this.differing.has(what)) continue;
      record.times = this.recent(record);
      if (record.times.length === 0) this.records.delete(what);
      Object.assign(record, { vain: 0, isOpen: false, nextAt: 0 });
    }
  }

  /** A change of configuration repairs everything again. */
  forget(): void {
    this.records.clear();
  }

  /** Things whose repair does not help. */
  get vain(): string[] {
    return this.named(({ vain }) => vain > FREE_REPAIRS);
  }

  /** ms until the next repair that waits; null: none waits. */
  get dueMs(): number | null {
    const waiting = [...this.records]
      .filter(([what, record]) => this.differing.has(what) && !record.isOpen)
      .map(([, { nextAt }]) => Math.max(0, nextAt - this.now()));
    return waiting.length === 0 ? null : Math.min(...waiting);
  }

  /** One line for each thing. */
  warnings(): string[] {
    const contested = this.named(
      record => record.vain <= FREE_REPAIRS && this.recent(record).length >= CONTEST_REPAIRS,
    );
    return [
      ...this.vain.map(
        what =>
          `a repair of ${what} does not help: the kernel lists it as before. Another program may undo it at once, ` +
          `or the kernel may hide it. It is tried again, each ${LONGEST_WAIT_MS / 1000} s at the latest`,
      ),
      ...contested.map(
        what =>
          `another program removes or changes ${what} again and again: stop that program, or have it leave this alone`,
      ),
    ];
  }

  private named(holds: (record: Record) => boolean): string[] {
    return [...this.records].filter(([, record]) => holds(record)).map(([what]) => what);
  }

  private recent({ times }: Record): number[] {
    return times.filter(at => this.now() - at < CONTEST_MS);
  }
}

function waitMs(vain: number): number {
  if (vain < FREE_REPAIRS) return 0;
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (vain - FREE_REPAIRS));
}
