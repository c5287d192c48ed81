/** What the daemon in charge of a network namespace holds, and no other: its lock, and the control socket. */
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ControlServer } from '../control/server.js';
import { makeDirectory } from '../control/socket.js';
import type { FileLock } from '../lock/file-lock.js';
import { lockNamespace } from '../lock/namespace-lock.js';
import { MagmarkError } from '../types/errors.js';
import type { Log } from './log.js';

export interface SeatOptions {
  readonly socketPath: string;
  readonly journalPath: string;
  readonly log: Log;
}

const TRY_AGAIN_MS = 5;
/** Who had it has ended by then, however loaded the machine is. */
const LATE_MS = 5000;

export class Seat {
  private constructor(
    private readonly lock: FileLock,
    readonly control: ControlServer,
  ) {}

  /** @throws ClashError if another daemon has it; EnvironmentError, ControlError */
  static async take({ socketPath, journalPath, log }: SeatOptions): Promise<Seat> {
    const lock = lockNamespace('charge');
    try {
      makeDirectory(dirname(journalPath));
      makeDirectory(dirname(socketPath));
      const control = await ControlServer.start(socketPath, error =>
        log.error({ err: error }, 'control socket'),
      );
      return new Seat(lock, control);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Take it from a daemon that has left, or has died this moment. Packets are served meanwhile, so nothing is given up
   * for it: what stands in the way is logged and waited for.
   * @returns null once `stop` is aborted
   */
  static async takeWhenFree(options: SeatOptions, stop: AbortSignal): Promise<Seat | null> {
    const late = performance.now() + LATE_MS;
    for (let told = false; !stop.aborted; await pause(told ? LATE_MS : TRY_AGAIN_MS, stop)) {
      try {
        return await Seat.take(options);
      } catch (error) {
        if (!(error instanceof MagmarkError)) throw error;
        if (!told && performance.now() > late) {
          options.log.error({ reason: error.message }, 'packets are served, and nobody can ask about it');
          told = true;
        }
      }
    }
    return null;
  }

  /** Leave it to another daemon; requests under way are answered. */
  leave(): void {
    this.control.close();
    this.lock.release();
  }

  /** Ends requests that are under way. */
  endControl(): Promise<void> {
    return this.control.stop();
  }

  /** Last. */
  unlock(): void {
    this.lock.release();
  }
}

/** Ends with `stop` too. */
async function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal: stop }).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error;
  });
}
