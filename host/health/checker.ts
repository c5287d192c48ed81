/** Asks targets over and over whether they serve. */
import type { HealthCheck, Host } from '../types/config.js';
import { CLOCK, type Clock } from '../util/clock.js';
import type { Attempt } from './attempt.js';
import { type Prober, SocketProber } from './prober.js';
import { nextDue, spreadDelay, startDelay } from './schedule.js';
import { judge, type TargetHealth, unknownHealth } from './verdict.js';

export interface CheckedTarget {
  /** For example `stream-a-i/44`. */
  readonly key: string;
  readonly fwmark: number;
  readonly check: HealthCheck;
  /** Who it is, at most one a family: another next hop is another target. */
  readonly ips: readonly Host[];
  /** Whom to ask by its mark, at least one; all must answer. See `askedHosts`. */
  readonly asked: readonly Host[];
}

/** The part of the logger that is used. */
export interface HealthLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface HealthOptions {
  readonly log: HealthLog;
  /** Called within 20 ms of a target's change of health, once for all that change meanwhile. It must not throw. */
  readonly onChange: () => void;
  /** Checks under way at a time; what is due meanwhile waits in order. Default 512. */
  readonly concurrency?: number;
  /** What another checker has found, for targets that are new to this one and have the same next hops. */
  readonly known?: readonly KnownHealth[];
  readonly prober?: Prober;
  readonly clock?: Clock;
}

/** What was found of a target, for who goes on in this checker's place. */
export interface KnownHealth {
  readonly key: string;
  readonly ips: readonly Host[];
  readonly health: TargetHealth;
}

interface Entry {
  target: CheckedTarget;
  health: TargetHealth;
  /** Time of the check that is under way, or of the next. */
  due: number;
  /** How far the second check is from the first; null once that has been. */
  spread: number | null;
  takeBack: () => void;
  /** Those under way. */
  attempts: readonly Attempt[];
}

const CONCURRENCY = 512;
/** Changes of so long a time are one call: a thousand targets that turn healthy at a start are some forty. */
const GATHER_MS = 20;

export class HealthChecker {
  readonly #log: HealthLog;
  readonly #onChange: () => void;
  readonly #concurrency: number;
  readonly #prober: Prober;
  readonly #clock: Clock;
  readonly #inherited: ReadonlyMap<string, KnownHealth>;
  #entries = new Map<string, Entry>();
  /** Due, in order. */
  readonly #waiting = new Set<Entry>();
  readonly #running = new Set<Promise<void>>();
  #begun = 0;
  #takeBackCall: (() => void) | null = null;
  #stopping: Promise<void> | null = null;

  constructor({ log, onChange, concurrency, known, prober, clock }: HealthOptions) {
    this.#log = log;
    this.#onChange = onChange;
    this.#concurrency = concurrency ?? CONCURRENCY;
    this.#inherited = new Map(known?.map(each => [each.key, each]));
    this.#prober = prober ?? new SocketProber();
    this.#clock = clock ?? CLOCK;
  }

  /**
   * Check exactly `targets` from now on. One that is new, or has another next hop, starts `unknown`. One that shall only
   * be asked otherwise keeps its health, so that a reload takes no traffic from it, and is asked at once.
   */
  set(targets: readonly CheckedTarget[]): void {
    if (this.#stopping !== null) return;
    checkTargets(targets);
    const before = this.#entries;
    this.#entries = new Map();
    const starting: Entry[] = [];
    for (const target of targets) {
      const entered = before.get(target.key);
      if (entered !== undefined && alike(entered.target, target)) {
        before.delete(target.key);
        this.#entries.set(target.key, entered);
        continue;
      }
      const known = entered === undefined ? this.#inherited.get(target.key) : knownOf(entered);
      const same = known !== undefined && alike(known.ips, target.ips);
      const health = same ? { ...known.health, answers: 0, failures: 0 } : unknownHealth(this.#clock.date());
      const entry = { target, health, due: 0, spread: 0, takeBack() {}, attempts: [] };
      this.#entries.set(target.key, entry);
      starting.push(entry);
    }
    for (const gone of before.values()) this.#drop(gone);
    starting.forEach((entry, index) => {
      const { intervalMs } = entry.target.check;
      entry.spread = spreadDelay(this.#begun++, intervalMs);
      entry.due = this.#clock.now() + startDelay(index, starting.length, intervalMs);
      this.#await(entry);
    });
  }

  /** null for a key that is not checked. */
  state(key: string): TargetHealth | null {
    return this.#entries.get(key)?.health ?? null;
  }

  /** Of all targets. */
  known(): KnownHealth[] {
    return [...this.#entries.values()].map(knownOf);
  }

  /** End all checks; no socket is left open. */
  stop(): Promise<void> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async #end(): Promise<void> {
    this.#takeBackCall?.();
    for (const entry of this.#entries.values()) this.#drop(entry);
    await Promise.all(this.#running);
    this.#prober.close();
  }

  #drop(entry: Entry): void {
    entry.takeBack();
    this.#waiting.delete(entry);
    const { attempts } = entry;
    entry.attempts = [];
    for (const attempt of attempts) attempt.cancel();
  }

  #await(entry: Entry): void {
    entry.takeBack = this.#clock.after(Math.max(0, entry.due - this.#clock.now()), () => {
      this.#waiting.add(entry);
      this.#askWaiting();
    });
  }

  #askWaiting(): void {
    for (const entry of this.#waiting) {
      if (this.#running.size >= this.#concurrency) return;
      this.#waiting.delete(entry);
      const run = this.#ask(entry).finally(() => {
        this.#running.delete(run);
        this.#askWaiting();
      });
      this.#running.add(run);
    }
  }

  async #ask(entry: Entry): Promise<void> {
    const { fwmark, check, asked } = entry.target;
    const attempts = asked.map(host => this.#prober.ask({ host, fwmark, check }));
    entry.attempts = attempts;
    const failures = await Promise.all(attempts.map(({ failure }) => failure));
    if (entry.attempts !== attempts) return;
    entry.attempts = [];
    if (!attempts.some(({ unasked }) => unasked)) {
      this.#judge(entry, failures.filter(failure => failure !== null).join('; '));
    }
    const { intervalMs } = check;
    entry.due =
      entry.spread === null ? nextDue(entry.due, this.#clock.now(), intervalMs) : entry.due + entry.spread;
    entry.spread = null;
    this.#await(entry);
  }

  #judge(entry: Entry, failures: string): void {
    const { key, fwmark, check } = entry.target;
    const before = entry.health;
    const after = judge(before, failures === '' ? null : failures, check, this.#clock.date());
    entry.health = after;
    if (after.health === before.health) return;
    const fields = { target: key, fwmark, reason: after.reason };
    if (after.health === 'healthy') this.#log.info(fields, `target ${key} is healthy`);
    else this.#log.warn(fields, `target ${key} is unhealthy: ${after.reason}`);
    this.#announce();
  }

  #announce(): void {
    this.#takeBackCall ??= this.#clock.after(GATHER_MS, () => {
      this.#takeBackCall = null;
      this.#onChange();
    });
  }
}

function knownOf({ target, health }: Entry): KnownHealth {
  return { key: target.key, ips: target.ips, health };
}

function checkTargets(targets: readonly CheckedTarget[]): void {
  const keys = new Set<string>();
  for (const { key, asked } of targets) {
    if (asked.length === 0) throw new TypeError(`target ${key}: nobody is asked`);
    if (keys.has(key)) throw new TypeError(`target ${key} is there twice`);
    keys.add(key);
  }
}

/** Of plain values that were made the same way. */
function alike(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
