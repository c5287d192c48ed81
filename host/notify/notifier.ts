/**
 * What systemd, or whoever started the daemon, is told: sd_notify(3). Contract of this room: it tells what it is told to;
 * a supervisor that cannot be reached is logged and changes nothing.
 */
import { MagmarkError } from '../types/errors.js';
import { sendDatagram } from './native.js';

export interface NotifierOptions {
  /** Of systemd: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly onError: (error: Error) => void;
  readonly send?: (address: string, text: string) => void;
  /** Microseconds of CLOCK_MONOTONIC. */
  readonly monotonicUs?: () => bigint;
}

/** What is asked again and again while the daemon runs. */
export interface Watched {
  /** One line for `systemctl status`. */
  status(): string;
  /** Worth keeping: else the watchdog is left to bark. */
  alive(): boolean;
}

/** How late a change is seen in STATUS. */
const LOOK_MS = 2000;
const MICROSECONDS = 1000;

/** systemd's variables, which children must not have: what they tell would count as the daemon's own. */
const VARIABLES = ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'] as const;

/** systemd's variables of this process; from now on its environment is without them. */
export function takeEnvironment(): NotifierOptions['environment'] {
  const taken = Object.fromEntries(VARIABLES.map(name => [name, process.env[name]]));
  for (const name of VARIABLES) delete process.env[name];
  return taken;
}

export class Notifier {
  private readonly address: string;
  private readonly watchdogMs: number | null;
  private readonly send: (address: string, text: string) => void;
  private readonly monotonicUs: () => bigint;
  private timer: NodeJS.Timeout | null = null;
  private told = '';
  private broken = false;
  private stopped = false;

  constructor(private readonly options: NotifierOptions) {
    const { NOTIFY_SOCKET = '', WATCHDOG_USEC, WATCHDOG_PID } = options.environment;
    this.address = NOTIFY_SOCKET;
    const mine = WATCHDOG_PID === undefined || WATCHDOG_PID === String(options.pid);
    const microseconds = mine ? Number(WATCHDOG_USEC ?? 0) : 0;
    this.watchdogMs = microseconds > 0 ? microseconds / MICROSECONDS : null;
    this.send = options.send ?? sendDatagram;
    this.monotonicUs = options.monotonicUs ?? (() => process.hrtime.bigint() / BigInt(MICROSECONDS));
  }

  /** Everything stands; from now on `watched` is asked for what is told. */
  ready(watched: Watched): void {
    if (this.stopped) return;
    this.told = watched.status();
    this.tell({ READY: 1, STATUS: this.told });
    if (this.address === '') return;
    // Half of the watchdog's time, as sd_watchdog_enabled(3) advises.
    const everyMs = Math.min(LOOK_MS, (this.watchdogMs ?? Number.POSITIVE_INFINITY) / 2);
    this.timer ??= setInterval(() => this.look(watched), everyMs);
  }

  /** The configuration is read again; `ready` follows, also where it is refused. */
  reloading(): void {
    if (this.stopped) return;
    this.tell({ RELOADING: 1, MONOTONIC_USEC: this.monotonicUs() });
  }

  stopping(): void {
    this.stopped = true;
    this.tell({ STOPPING: 1, STATUS: 'stopping' });
  }

  /** Ask and tell no more. */
  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }

  /** @param fields of sd_notify(3) */
  private tell(fields: Readonly<Record<string, string | number | bigint>>): void {
    if (this.address === '') return;
    const lines = Object.entries(fields).map(
      ([name, value]) => `${name}=${String(value).replace(/\n/g, ' ')}`,
    );
    try {
      this.send(this.address, lines.join('\n'));
      this.broken = false;
    } catch (error) {
      if (!(error instanceof MagmarkError)) throw error;
      // Told once: the next look would tell it again, every time.
      if (!this.broken) this.options.onError(error);
      this.broken = true;
    }
  }

  private look({ status, alive }: Watched): void {
    const text = this.stopped ? this.told : status();
    if (text !== this.told) this.tell({ STATUS: text });
    this.told = text;
    // A stop ends the workers, and has a time-out of its own.
    if (this.watchdogMs !== null && (this.stopped || alive())) this.tell({ WATCHDOG: 1 });
  }
}
