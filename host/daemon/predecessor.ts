/** The running daemon, as the one sees it that takes over from it. */
import { ask, follow, RefusedError } from '../control/client.js';
import {
  type DrainReply,
  HANDOVER_PATH,
  HANDOVER_PROTOCOL,
  type HandoverFacts,
  type HandoverLine,
  type HandoverRequest,
} from '../control/handover.js';
import type { InterfaceAddress } from '../frontend/router-id.js';
import { ClashError, ControlError, EnvironmentError } from '../types/errors.js';
import { version } from '../version.js';
import type { Log } from './log.js';
import { namespaceInode } from './namespace.js';
import type { KnownService } from './service.js';
import { proceed } from './stopped.js';

/** Facts of the handover with what the rooms of the daemon make of them. */
export interface KnownFacts extends HandoverFacts {
  /** Of the host when it started: the router id follows from them. */
  readonly addresses: readonly InterfaceAddress[];
  readonly known: KnownService;
}

export interface PredecessorOptions {
  readonly socketPath: string;
  readonly journalPath: string;
  /** Aborted: the answer is waited for no longer. */
  readonly stop: AbortSignal;
  readonly log: Log;
}

export class Predecessor {
  /** Why it goes on by itself; null: it has not said so. */
  private ended: string | null = null;
  private givenBack: Promise<boolean> | null = null;
  private readonly finished = new AbortController();

  private constructor(
    private readonly options: PredecessorOptions,
    private readonly lines: AsyncGenerator<HandoverLine<KnownFacts>>,
    readonly facts: KnownFacts,
    private readonly connection: AbortController,
  ) {}

  /**
   * From the return on the running daemon makes no change, and waits.
   * @throws ControlError if none runs there or it refuses; EnvironmentError, ClashError if it is not the one to take over
   *   from; Stopped; it then goes on as if nothing had been
   */
  static async meet(options: PredecessorOptions): Promise<Predecessor> {
    const request: HandoverRequest = { protocol: HANDOVER_PROTOCOL, version, pid: process.pid };
    const connection = new AbortController();
    // It may be in the midst of a long change.
    const onStop = () => connection.abort();
    options.stop.addEventListener('abort', onStop);
    try {
      const answer = follow(options.socketPath, HANDOVER_PATH, connection.signal, JSON.stringify(request));
      const lines = parsed(answer);
      const { value: first } = await lines.next();
      if (first?.type !== 'begun') throw new ControlError(`${options.socketPath}: the handover has no facts`);
      refuseOther(options, first);
      const predecessor = new Predecessor(options, lines, first, connection);
      void predecessor.listen();
      return predecessor;
    } catch (error) {
      connection.abort();
      proceed(options.stop);
      throw worded(error as Error);
    } finally {
      options.stop.removeEventListener('abort', onStop);
    }
  }

  /** The rules lead to our queues: returns when no packet waits in its own, or it has died. @throws ControlError */
  async drain(): Promise<void> {
    const { log } = this.options;
    const reply = await this.request<DrainReply>('drain');
    if (reply?.drained === false)
      log.warn(reply, 'packets still come to the queues of the magmark that leaves');
    else if (reply !== null) log.info({ waitedMs: reply.waitedMs }, 'its queues are empty');
  }

  /** Have it let go of everything and leave. @throws ControlError if it goes on by itself */
  async finish(): Promise<void> {
    await this.request('finish');
    this.finished.abort();
    this.connection.abort();
  }

  /**
   * Have it go on by itself: its rules lead to its queues again. It removes nothing of ours before `part`.
   * @returns whether it does: false if it is dead
   */
  giveBack(reason: string): Promise<boolean> {
    this.givenBack ??= this.askToGoOn(reason);
    return this.givenBack;
  }

  private async askToGoOn(reason: string): Promise<boolean> {
    if (this.finished.signal.aborted) return false;
    try {
      // One that has said so already goes on too.
      return this.ended !== null || (await this.request('give-back', reason)) !== null;
    } catch (error) {
      if (error instanceof RefusedError) return true;
      throw error;
    }
  }

  /** What waited in our queues has been answered; it may remove what our marks needed. */
  part(): void {
    this.connection.abort();
  }

  /** @returns null if it is dead */
  private async request<Reply>(what: string, body = ''): Promise<Reply | null> {
    const { socketPath, log } = this.options;
    if (this.ended !== null) throw new ControlError(`the running magmark goes on by itself: ${this.ended}`);
    try {
      return await ask<Reply>(socketPath, `${HANDOVER_PATH}/${what}`, body);
    } catch (error) {
      if (error instanceof RefusedError || !(error instanceof ControlError)) throw error;
      log.warn(
        { predecessor: this.facts.pid, reason: error.message },
        'the magmark that was to leave has died',
      );
      return null;
    }
  }

  private async listen(): Promise<void> {
    try {
      for await (const line of this.lines) if (line.type === 'ended') this.ended = line.reason;
    } catch (error) {
      // Its death; who asks it next is told.
      if (!(error instanceof ControlError)) throw error;
    }
  }
}

/** As much as any answer of the control socket. */
const MOST_LINE = 64 * 1024 * 1024;

async function* parsed(chunks: AsyncIterable<Buffer>): AsyncGenerator<HandoverLine<KnownFacts>> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop()!;
    if (rest.length > MOST_LINE)
      throw new ControlError(`the handover has a line of more than ${MOST_LINE} characters`);
    for (const line of lines) yield JSON.parse(line) as HandoverLine<KnownFacts>;
  }
}

function worded(error: Error): Error {
  if (error instanceof RefusedError && error.status === 404) {
    return new ControlError(
      `--takeover: what runs there knows no handover (${error.message}): it is no \`magmark run\`, or an old one; stop it first`,
    );
  }
  if (error instanceof ControlError && !(error instanceof RefusedError)) {
    return new ControlError(`--takeover: there is nobody to take over from: ${error.message}`, {
      cause: error,
    });
  }
  return error instanceof RefusedError ? new ControlError(`--takeover: ${error.message}`) : error;
}

function refuseOther(options: PredecessorOptions, facts: HandoverFacts): void {
  if (facts.protocol !== HANDOVER_PROTOCOL) {
    throw new ControlError(
      `--takeover: magmark ${facts.version} speaks version ${facts.protocol} of the handover`,
    );
  }
  if (facts.namespace !== namespaceInode()) {
    throw new ClashError(
      `--takeover: magmark ${facts.pid} runs in another network namespace (net:[${facts.namespace}]) than this one ` +
        `(net:[${namespaceInode()}]); nothing was changed`,
    );
  }
  if (facts.journalPath !== options.journalPath) {
    throw new EnvironmentError(
      `--takeover: magmark ${facts.pid} has its journal at ${facts.journalPath}, not ${options.journalPath}: say --journal`,
    );
  }
}
