/** A client of BIRD's control socket: one command at a time, each bounded. */
import { createConnection, type Socket } from 'node:net';
import { ControlError } from '../types/errors.js';
import { type Reply, ReplyReader } from './reply.js';

/** A gateway's entry in a listing has some 2,000. */
const MAX_REPLY_CHARACTERS = 8 * 1024 * 1024;

interface Waiting {
  readonly what: string;
  resolve(reply: Reply): void;
  reject(error: ControlError): void;
}

export class BirdControl {
  private readonly reader = new ReplyReader();
  /** What the next reply answers; BIRD answers in order. */
  private waiting: Waiting | null = null;
  private turn: Promise<unknown> = Promise.resolve();
  private fault: string | null = null;
  /** Chunks that came. */
  private received = 0;

  private constructor(
    private readonly socket: Socket,
    private readonly path: string,
  ) {
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.receive(chunk));
    socket.on('error', error => this.fail(error.message));
    socket.on('close', () => this.fail('the connection was closed'));
  }

  /** @throws ControlError if nobody answers there as BIRD does within `boundMs` */
  static async connect(path: string, boundMs: number): Promise<BirdControl> {
    const control = new BirdControl(createConnection({ path }), path);
    const [greeting] = await control.await('greeting', boundMs);
    if (greeting!.code !== 1) {
      control.close();
      throw new ControlError(
        `BIRD's control socket ${path}: its greeting is ${JSON.stringify(greeting!.text)}`,
      );
    }
    return control;
  }

  /**
   * Also a refusal is a reply: see `refusalOf`.
   * @throws ControlError if there is no reply within `boundMs` of the command's turn, and none is coming; the connection is of no use then
   */
  ask(command: string, boundMs: number): Promise<Reply> {
    const answer = this.turn.then(() => {
      this.socket.write(`${command}\n`);
      return this.await(command, boundMs);
    });
    this.turn = answer.catch(() => undefined);
    return answer;
  }

  close(): void {
    this.fail('it was closed from here');
  }

  private await(what: string, boundMs: number): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.fault !== null) return reject(this.error(what, this.fault));
      // Node runs timers before it reads sockets. What came while this process was busy goes first; it may be the beginning of
      // an answer whose rest found no room in the socket: that has the time once more.
      const late = (before: number): void => {
        if (waiting !== this.waiting) return;
        if (this.received === before) this.fail(`no answer within ${boundMs} ms`);
        else timer = setTimeout(expired, boundMs);
      };
      const expired = () => setImmediate(late, this.received);
      let timer = setTimeout(expired, boundMs);
      const settle =
        <Value>(done: (value: Value) => void) =>
        (value: Value): void => {
          clearTimeout(timer);
          this.waiting = null;
          done(value);
        };
      const waiting = { what, resolve: settle(resolve), reject: settle(reject) };
      this.waiting = waiting;
    });
  }

  private receive(chunk: string): void {
    this.received++;
    try {
      for (const reply of this.reader.push(chunk)) {
        if (this.waiting === null) this.fail('an answer that nothing asked for');
        else this.waiting.resolve(reply);
      }
      if (this.reader.pending > MAX_REPLY_CHARACTERS)
        this.fail(`an answer of more than ${MAX_REPLY_CHARACTERS} characters`);
    } catch (error) {
      this.fail((error as Error).message);
    }
  }

  private fail(fault: string): void {
    this.fault ??= fault;
    this.socket.destroy();
    this.waiting?.reject(this.error(this.waiting.what, fault));
  }

  private error(what: string, fault: string): ControlError {
    return new ControlError(`BIRD's control socket ${this.path}: ${what}: ${fault}`);
  }
}
