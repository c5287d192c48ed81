/**
 * BIRD as the daemon sees it: `set` the whole wanted state as often as one likes, read `state`, `stop`. A BIRD that fails
 * is told, logged and started again, longer waits between; nobody waits for it.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { onFile } from '../programs/file.js';
import type { Prefix } from '../types/config.js';
import { ConfigError, ControlError, MagmarkError } from '../types/errors.js';
import { RepeatedLines, repeatedText } from '../util/repeated.js';
import { Backoff } from './backoff.js';
import { bfdOutlook } from './bfd-ports.js';
import { Bird, BirdFiles, checkConfiguration } from './bird.js';
import { renderConfiguration } from './configuration.js';
import { removeLeftRoutes } from './leftover.js';
import type { Message } from './message.js';
import { noNextHop } from './next-hop.js';
import { readPasswords } from './password.js';
import { refusalOf } from './reply.js';
import { Revival } from './revival.js';
import { readSessions, type SessionState, sessionsWithout, stoppedProtocols } from './session.js';
import { Transitions } from './transitions.js';
import type { FrontendLog, WantedFrontend } from './wanted.js';

export interface FrontendOptions {
  /** For the files of this instance: another one for each network namespace. Made, and removed at the end. */
  readonly directory: string;
  readonly log: FrontendLog;
}

export interface BirdState {
  /** off: no gateways; failed: it ended or does not answer, and is started again after a while. */
  readonly status: 'off' | 'starting' | 'running' | 'failed';
  readonly pid: number | null;
  /** Starts after it had failed. */
  readonly restarts: number;
  /** How it failed last; null: it never did. */
  readonly lastError: string | null;
}

export interface FrontendState {
  readonly bird: BirdState;
  /** One for each address of each gateway, in the order of the file. */
  readonly sessions: readonly SessionState[];
  /** What keeps BIRD from serving, one line each. */
  readonly warnings: readonly string[];
}

const POLL_UNSETTLED_MS = 200;
const POLL_SETTLED_MS = 1000;
/** After a line of BIRD's log, which may tell a change: the rest of them come with it. */
const POLL_TOLD_MS = 10;
const STOP_MS = 2000;

export class Frontend {
  private readonly files: BirdFiles;
  private readonly backoff = new Backoff();
  /** BIRD repeats what it cannot do for as long as it tries, more than once a second. */
  private readonly heard = new RepeatedLines<Message>({
    summarize: ({ level, text }, count, windowMs) =>
      this.options.log[level]({ bird: text, count }, `BIRD says: ${repeatedText(count, windowMs)}`),
  });
  /** What was accepted last; null: nothing yet. */
  private wanted: WantedFrontend | null = null;
  /** By the gateway's name, as they were when that was accepted. */
  private passwords: ReadonlyMap<string, string> = new Map();
  /** What BIRD has, or will be started with; null: no BIRD. */
  private text: string | null = null;
  private bird: Bird | null = null;
  private current: FrontendState = {
    bird: { status: 'off', pid: null, restarts: 0, lastError: null },
    sessions: [],
    warnings: [],
  };
  private readonly transitions: Transitions;
  private revival = new Revival();
  /** Called after `state()` changed. */
  onChange: () => void = () => {};
  /** Changes come one after the other. */
  private turn: Promise<unknown> = Promise.resolve();
  private retry: NodeJS.Timeout | null = null;
  private poll: { readonly timer: NodeJS.Timeout; readonly at: number } | null = null;
  private stopped = false;
  /** Another daemon is taking over: what happens to BIRD is its business. */
  private paused = false;

  private constructor(private readonly options: FrontendOptions) {
    this.files = new BirdFiles(options.directory);
    this.transitions = new Transitions(options.log);
  }

  /** Nothing is started before `set`. */
  static open(options: FrontendOptions): Frontend {
    return new Frontend(options);
  }

  state(): FrontendState {
    return this.current;
  }

  /**
   * Be in charge of the BIRD that another daemon has started, if there is one, beside that daemon until it leaves. BIRD
   * goes on as it is; `set` follows.
   * @throws EnvironmentError if its file cannot be read
   */
  join(): Promise<void> {
    return this.inTurn(async () => {
      const began = performance.now();
      const bird = await Bird.join(this.files, message => this.hear(message));
      if (bird === null) return;
      const { configuration } = this.files;
      this.text = await onFile('read', configuration, () => readFile(configuration, 'utf8'));
      this.keep(bird, began);
    });
  }

  /** Do nothing to BIRD while another daemon takes over: `leave` or `resume` follows. What is set meanwhile waits for that. */
  pause(): Promise<void> {
    return this.inTurn(async () => {
      this.paused = true;
      this.endTimers();
    });
  }

  /** That daemon has given up: whatever it made of BIRD, make it do what was set last. */
  resume(): Promise<void> {
    return this.inTurn(async () => {
      this.paused = false;
      const { wanted } = this;
      if (wanted === null) return;
      this.text = null;
      if (wanted.gateways.length === 0) await this.end();
      else await this.change(wanted, this.passwords);
    });
  }

  /** Leave BIRD and its files to the daemon that has joined it; nothing is done any more. */
  leave(): Promise<void> {
    this.stopped = true;
    return this.inTurn(async () => {
      this.endTimers();
      this.bird?.leave();
      this.bird = null;
      this.heard.flush();
    });
  }

  /**
   * Make BIRD do what is `wanted`; returns when it has accepted it, or has failed and will be started again with it.
   * @throws ConfigError, EnvironmentError about a gateway's password; ConfigError with BIRD's words if it refuses what was
   *   rendered; EnvironmentError if its file cannot be written. What was before goes on then.
   */
  set(wanted: WantedFrontend): Promise<void> {
    return this.inTurn(async () => this.change(wanted, await readPasswords(wanted.gateways)));
  }

  /**
   * Announce these VIPs and no others; all else stays as it was set last, passwords too, whose files may be gone. Returns
   * when BIRD has accepted it, or has ended, which withdraws all.
   */
  announce(vips: readonly Prefix[]): Promise<void> {
    return this.inTurn(async () => {
      if (this.wanted !== null) await this.change({ ...this.wanted, announced: vips }, this.passwords);
    });
  }

  /** Which gateways cannot be reached, and by which address they reach us; all else stays as it was set last. */
  setReach(reach: Pick<WantedFrontend, 'unreachable' | 'nextHop6'>): Promise<void> {
    return this.inTurn(async () => {
      const { wanted } = this;
      if (wanted === null || wanted.gateways.length === 0) return;
      const { unreachable, nextHop6 } = wanted;
      if (isDeepStrictEqual(reach, { unreachable, nextHop6 })) return;
      await this.change({ ...wanted, ...reach }, this.passwords);
    });
  }

  /** End BIRD, its routes and its files. */
  stop(): Promise<void> {
    this.stopped = true;
    return this.inTurn(async () => {
      if (this.wanted !== null) await this.end();
      // A first text that was refused has left its directory.
      else await this.files.remove();
    });
  }

  private inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(step);
    this.turn = result.catch(() => undefined);
    return result;
  }

  private async change(wanted: WantedFrontend, passwords: ReadonlyMap<string, string>): Promise<void> {
    if (this.stopped) return;
    if (this.paused) {
      this.wanted = wanted;
      this.passwords = passwords;
      return;
    }
    if (wanted.gateways.length === 0) {
      if (this.wanted === null || this.text !== null) await this.end();
      this.wanted = wanted;
      return;
    }
    const text = renderConfiguration(wanted, passwords);
    const changed = text !== this.text;
    if (changed) await this.write(text);
    this.wanted = wanted;
    this.passwords = passwords;
    if (this.bird === null) {
      if (changed || this.retry === null) await this.start();
    } else if (changed) {
      await this.configure(this.bird);
    }
    this.pollWithin(0);
  }

  /** Put the text where BIRD reads it. @throws ConfigError with BIRD's words; then the former one stays */
  private async write(text: string): Promise<void> {
    const { directory, draft, configuration } = this.files;
    await onFile('make', directory, () => mkdir(directory, { recursive: true, mode: 0o700 }));
    await onFile('write', draft, async () => {
      await rm(draft, { force: true });
      // It holds passwords.
      await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
    });
    try {
      await (this.bird?.check() ?? checkConfiguration(draft));
    } catch (error) {
      if (error instanceof ConfigError) {
        await onFile('remove', draft, () => rm(draft));
        throw error;
      }
      // A BIRD that cannot be asked fails in the next step too, and that is told there.
      this.options.log.warn({ reason: (error as Error).message }, 'BIRD could not be asked about its file');
    }
    await onFile('rename', draft, () => rename(draft, configuration));
    this.text = text;
  }

  private async configure(bird: Bird): Promise<void> {
    try {
      await bird.configure();
    } catch (error) {
      if (!(error instanceof MagmarkError)) throw error;
      // What it announces now is not what is wanted; its end withdraws all, and the next one reads the file.
      await bird.kill(error.message);
    }
  }

  private async start(): Promise<void> {
    if (this.retry !== null) clearTimeout(this.retry);
    this.retry = null;
    this.revival = new Revival();
    const began = performance.now();
    this.tell({ status: 'starting', pid: null });
    try {
      this.keep(await Bird.start(this.files, message => this.hear(message)), began);
    } catch (error) {
      this.failed((error as Error).message, began);
    }
  }

  private keep(bird: Bird, began: number): void {
    this.bird = bird;
    this.tell({ status: 'running', pid: bird.pid });
    this.options.log.info({ bird: bird.pid }, 'BIRD runs');
    void bird.ended.then(how => {
      // Otherwise its end was asked for.
      if (this.bird === bird) this.failed(how, began);
    });
  }

  private failed(how: string, began: number): void {
    this.bird = null;
    if (this.paused) return;
    const waitMs = this.backoff.next(performance.now() - began);
    this.options.log.error({ how, waitMs }, 'BIRD failed; it is started again');
    this.tell({ status: 'failed', pid: null, lastError: how }, this.sessionsWithout());
    if (this.stopped) return;
    this.retry = setTimeout(() => void this.inTurn(() => this.startAgain()), waitMs);
  }

  private async startAgain(): Promise<void> {
    if (this.stopped || this.paused || this.bird !== null || this.text === null) return;
    this.tell({ restarts: this.current.bird.restarts + 1 });
    await this.start();
    this.pollWithin(0);
  }

  private endTimers(): void {
    for (const timer of [this.retry, this.poll?.timer]) clearTimeout(timer ?? undefined);
    this.retry = null;
    this.poll = null;
  }

  private async end(): Promise<void> {
    this.endTimers();
    const { bird } = this;
    this.bird = null;
    this.text = null;
    const orderly = bird !== null && (await bird.stop(STOP_MS));
    if (!orderly) await removeLeftRoutes(this.options.log);
    await this.files.remove();
    this.heard.flush();
    this.tell({ status: 'off', pid: null }, []);
  }

  private hear(message: Message): void {
    const { level, text } = message;
    this.revival.hear(text);
    if (this.heard.admit(text, message)) this.options.log[level]({ bird: text }, 'BIRD says');
    this.pollWithin(POLL_TOLD_MS);
  }

  /** Look at the sessions after `waitMs` at most. */
  private pollWithin(waitMs: number): void {
    const at = performance.now() + waitMs;
    if (this.bird === null || this.paused || (this.poll !== null && this.poll.at <= at)) return;
    clearTimeout(this.poll?.timer);
    const timer = setTimeout(() => {
      this.poll = null;
      void this.look();
    }, waitMs);
    this.poll = { timer, at };
  }

  private async look(): Promise<void> {
    const { bird } = this;
    if (bird === null) return;
    try {
      const protocols = await bird.ask('show protocols all');
      const bfd = await bird.ask('show bfd sessions');
      if (this.bird !== bird || this.wanted === null) return;
      const refusal = refusalOf(protocols);
      if (refusal !== null) {
        // A refusal says nothing of the sessions: they are taken for what they were.
        this.options.log.warn({ bird: refusal }, 'BIRD refused to list its protocols');
        this.pollWithin(POLL_SETTLED_MS);
        return;
      }
      const sessions = readSessions(this.wanted.gateways, protocols, bfd);
      const outlook = this.revival.bfdFails ? await bfdOutlook(sessions) : 'all-up';
      if (this.bird !== bird) return;
      const commands = this.revival.due(stoppedProtocols(protocols), outlook);
      this.tell({}, this.withReasons(sessions));
      for (const command of commands) await bird.ask(command);
      this.pollWithin(sessions.every(({ up }) => up) ? POLL_SETTLED_MS : POLL_UNSETTLED_MS);
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      if (this.bird === bird) await bird.kill(error.message);
    }
  }

  private sessionsWithout(): SessionState[] {
    return sessionsWithout(this.wanted?.gateways ?? [], 'BIRD does not run');
  }

  /** What BIRD does not know, or tells in its log alone. */
  private withReasons(sessions: readonly SessionState[]): SessionState[] {
    const gateways = new Map(this.wanted?.gateways.map(gateway => [gateway.name, gateway]));
    return sessions.map(session => {
      if (session.up) return session;
      const { gateway, address } = session;
      const reason =
        this.wanted?.unreachable.get(address) ?? this.revival.reason(gateways.get(gateway)!, address);
      return reason === null ? session : { ...session, info: reason };
    });
  }

  private warnings(): string[] {
    if (this.wanted === null) return [];
    const { external, gateways, nextHop6 } = this.wanted;
    return [...this.revival.warnings(gateways), ...(nextHop6 === null ? noNextHop(gateways, external) : [])];
  }

  private tell(bird: Partial<BirdState>, listed?: readonly SessionState[]): void {
    const sessions = listed === undefined ? this.current.sessions : this.transitions.next(listed);
    const warnings = this.bird === null ? [] : this.warnings();
    const next = { bird: { ...this.current.bird, ...bird }, sessions, warnings };
    if (isDeepStrictEqual(next, this.current)) return;
    this.current = next;
    this.onChange();
  }
}
