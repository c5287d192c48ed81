/**
 * The running daemon's side of a takeover. While it lasts it holds the turn of changes, so nothing is read, mended or
 * announced from here; packets are answered all the time. It goes on by itself unless `finish` was asked for.
 */
import {
  type DrainReply,
  HANDOVER_PATH,
  HANDOVER_PROTOCOL,
  type HandoverLine,
  type HandoverRequest,
} from '../control/handover.js';
import { RequestError, type Routes, Streamed } from '../control/server.js';
import { version } from '../version.js';
import type { Daemon } from './daemon.js';
import { namespaceInode } from './namespace.js';
import type { KnownFacts } from './predecessor.js';

/** Far above what ten thousand new targets take. */
const LONGEST_MS = 120_000;
/** An empty queue of a thousand packets takes a few ms. */
const DRAIN_MS = 10_000;
/** How long the other one may take to part, at the end. */
const PARTING_MS = 10_000;

/** As much of the daemon as a handover touches. */
export type HeldDaemon = Pick<Daemon, 'holdTurn' | 'goOn' | 'leave'> & {
  readonly frontend: Pick<Daemon['frontend'], 'pause'>;
  readonly pool: Pick<Daemon['pool'], 'queues' | 'drained'>;
  readonly service: Pick<Daemon['service'], 'addresses' | 'known'>;
  readonly options: Pick<Daemon['options'], 'journalPath' | 'onLeft'> & {
    readonly log: Pick<Daemon['options']['log'], 'info'>;
  };
};

export class Handover {
  private outcome: 'finished' | 'given back' | null = null;
  /** Aborted when one of the two has been done. */
  private readonly asked = new AbortController();
  private givenBack: Promise<void> | null = null;

  constructor(
    private readonly daemon: HeldDaemon,
    private readonly successor: HandoverRequest,
  ) {}

  /**
   * What the other one is told. How it ends does not hang on who reads this: one that reads nothing would hold this daemon up.
   * @param gone aborted when who takes over has gone
   */
  async *lines(gone: AbortSignal): AsyncGenerator<string> {
    const { daemon } = this;
    const release = await daemon.holdTurn();
    const late = AbortSignal.timeout(LONGEST_MS);
    const judged = this.judged(gone, late);
    const parted = judged
      // Finished: until the other one has read the answers. Given back: until it has answered what waits in its queues,
      // whose marks need rules and routes that the next look removes.
      .then(() =>
        late.aborted ? undefined : aborted(AbortSignal.any([gone, AbortSignal.timeout(PARTING_MS)])),
      )
      .finally(() => (this.outcome === 'finished' ? daemon.options.onLeft() : release()));
    await daemon.frontend.pause();
    const { pid, version: theirs } = this.successor;
    daemon.options.log.info({ successor: pid, version: theirs }, 'another magmark takes over');
    yield line({ type: 'begun', ...factsOf(daemon) });
    const reason = await judged;
    if (reason !== null && !gone.aborted) yield line({ type: 'ended', reason });
    await parted;
  }

  /** @returns once it is finished or given back: why this daemon goes on though nobody asked for that; null: somebody did, or it is finished */
  private async judged(gone: AbortSignal, late: AbortSignal): Promise<string | null> {
    await aborted(AbortSignal.any([gone, late, this.asked.signal]));
    if (this.outcome !== null) return null;
    const reason = gone.aborted ? 'who took over has gone' : `it took more than ${LONGEST_MS / 1000} s`;
    await this.giveBack(reason, false);
    return reason;
  }

  /** The rules lead to the other's queues. */
  async drain(): Promise<DrainReply> {
    const begun = performance.now();
    const drained = await this.daemon.pool.drained(DRAIN_MS);
    return { drained, waitedMs: Math.round(performance.now() - begun) };
  }

  /** Everything is the other's. */
  async finish(): Promise<void> {
    if (this.outcome !== null) throw new RequestError(409, `the handover was ${this.outcome} before`);
    this.outcome = 'finished';
    await this.daemon.leave();
    this.asked.abort();
  }

  /** Go on by oneself. @param otherAnswers  as `Daemon.goOn` has it */
  giveBack(reason: string, otherAnswers: boolean): Promise<void> {
    if (this.outcome === 'finished') throw new RequestError(409, 'the handover was finished before');
    this.outcome = 'given back';
    this.givenBack ??= this.daemon.goOn(reason, otherAnswers).finally(() => this.asked.abort());
    return this.givenBack;
  }
}

export function handoverRoutes(daemon: Daemon): Routes {
  let current: Handover | null = null;
  const present = (): Handover => {
    if (current === null) throw new RequestError(409, 'there is no handover');
    return current;
  };
  return {
    [`POST ${HANDOVER_PATH}`]: ({ body, gone }) => {
      const request = requestOf(body);
      if (request.protocol !== HANDOVER_PROTOCOL) {
        throw new RequestError(
          409,
          `magmark ${request.version} cannot take over from magmark ${version}: they speak versions ` +
            `${request.protocol} and ${HANDOVER_PROTOCOL} of the handover; stop this one and start that one`,
        );
      }
      if (current !== null) throw new RequestError(409, 'another magmark is taking over already');
      if (daemon.options.stop.aborted) throw new RequestError(409, 'magmark is stopping');
      const handover = new Handover(daemon, request);
      current = handover;
      return new Streamed(
        'application/x-ndjson',
        whole(handover.lines(gone), () => (current = null)),
      );
    },
    [`POST ${HANDOVER_PATH}/drain`]: () => present().drain(),
    [`POST ${HANDOVER_PATH}/finish`]: async () => {
      await present().finish();
      return {};
    },
    [`POST ${HANDOVER_PATH}/give-back`]: async ({ body }) => {
      await present().giveBack(body, true);
      return {};
    },
  };
}

async function* whole(lines: AsyncGenerator<string>, end: () => unknown): AsyncGenerator<string> {
  try {
    yield* lines;
  } finally {
    end();
  }
}

function factsOf(daemon: HeldDaemon): KnownFacts {
  const { options, pool, service } = daemon;
  return {
    protocol: HANDOVER_PROTOCOL,
    version,
    pid: process.pid,
    namespace: namespaceInode(),
    queues: pool.queues,
    journalPath: options.journalPath,
    addresses: service.addresses,
    known: service.known(),
  };
}

function line(value: HandoverLine<KnownFacts>): string {
  return `${JSON.stringify(value)}\n`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** @throws RequestError */
function requestOf(body: string): HandoverRequest {
  try {
    const request = JSON.parse(body) as HandoverRequest | null;
    if (typeof request?.protocol === 'number') return request;
  } catch {
    // Told below, like every other body.
  }
  throw new RequestError(400, 'the body is not {"protocol": NUMBER, "version": TEXT, "pid": NUMBER}');
}
