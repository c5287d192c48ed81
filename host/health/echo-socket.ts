/** One socket of a family for all echo requests, and who waits for which reply. */
import { randomBytes, randomInt } from 'node:crypto';
import { addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';
import { MagmarkError } from '../types/errors.js';
import { type Attempt, attempt } from './attempt.js';
import { echoRequest, readEchoReply, TOKEN_BYTES, withoutIpv4Header } from './echo.js';
import { closeDescriptor, openEcho, receive, sendMarked } from './native.js';
import { attempted, type Question } from './question.js';

const SEQUENCES = 65_536;
/**
 * Nothing of Node waits for a raw socket, and libuv's own interface is no part of N-API, so replies are fetched: this
 * often while one is awaited, and once more before a check is late. A health check does not need its round-trip time.
 */
const FETCH_MS = 10;
/**
 * Each packet is charged at less than 1 KiB. Room for the replies of FETCH_MS, and for the requests that wait until the
 * kernel gives up asking for their neighbours (3 s): without it, those of others could not be sent.
 */
const BUFFER_BYTES = 4 * 1024 * 1024;
/** Longest IPv4 header and an echo message; what is longer is no reply to ours. */
const ROOM_BYTES = 128;

interface Waiting {
  readonly address: Uint8Array;
  readonly token: Uint8Array;
  readonly question: Question;
  readonly settle: (failure: string | null) => void;
}

export class EchoSocket {
  readonly #family: Family;
  readonly #identifier = randomInt(SEQUENCES);
  readonly #descriptor: number;
  readonly #raw: boolean;
  readonly #waiting = new Map<number, Waiting>();
  readonly #buffer = new Uint8Array(ROOM_BYTES);
  readonly #from = new Uint8Array(16);
  #sequence = randomInt(SEQUENCES);
  #fetches: NodeJS.Timeout | null = null;

  /** @throws EnvironmentError where the right is missing, KernelError */
  constructor(family: Family) {
    this.#family = family;
    const { descriptor, raw } = openEcho(family, this.#identifier, BUFFER_BYTES);
    this.#descriptor = descriptor;
    this.#raw = raw;
  }

  /** Send a request and wait for its reply. @throws EnvironmentError, KernelError where it could not be sent */
  ask(question: Question): Attempt {
    const { host, fwmark, check } = question;
    const { timeoutMs } = check;
    const sequence = this.#freeSequence();
    const token = randomBytes(TOKEN_BYTES);
    const address = addressBytes(this.#family, host.address);
    const request = echoRequest(this.#family, this.#identifier, sequence, token);
    sendMarked(this.#descriptor, fwmark, address, request);
    return attempt(timeoutMs, settle => {
      this.#waiting.set(sequence, { address, token, question, settle });
      this.#fetches ??= setInterval(() => this.#fetch(), FETCH_MS).unref();
      return {
        late: () => {
          this.#fetch();
          return `${attempted(question)}: no answer within ${timeoutMs} ms`;
        },
        end: () => this.#forget(sequence),
      };
    });
  }

  /** Nothing may wait any more. */
  close(): void {
    closeDescriptor(this.#descriptor);
  }

  #freeSequence(): number {
    do this.#sequence = (this.#sequence + 1) % SEQUENCES;
    while (this.#waiting.has(this.#sequence));
    return this.#sequence;
  }

  #forget(sequence: number): void {
    this.#waiting.delete(sequence);
    if (this.#waiting.size > 0 || this.#fetches === null) return;
    clearInterval(this.#fetches);
    this.#fetches = null;
  }

  #fetch(): void {
    try {
      for (let length = this.#receive(); length !== null; length = this.#receive()) {
        this.#take(this.#buffer.subarray(0, length));
      }
    } catch (error) {
      if (!(error instanceof MagmarkError)) throw error;
      for (const { question, settle } of [...this.#waiting.values()]) {
        settle(`${attempted(question)}: ${error.message}`);
      }
    }
  }

  #receive(): number | null {
    return receive(this.#descriptor, this.#buffer, this.#from);
  }

  /** What comes from another address, or answers what this socket never asked, is as if it had not come. */
  #take(packet: Uint8Array): void {
    const headed = this.#raw && this.#family === 4;
    const reply = readEchoReply(this.#family, headed ? withoutIpv4Header(packet) : packet);
    if (reply === null) return;
    const waiting = this.#waiting.get(reply.sequence);
    if (waiting === undefined) return;
    if (begins(this.#from, waiting.address) && begins(reply.token, waiting.token)) waiting.settle(null);
  }
}

function addressBytes(family: Family, address: string): Uint8Array {
  const digits = addressNumber(address).toString(16);
  return Buffer.from(digits.padStart(family === 6 ? 32 : 8, '0'), 'hex');
}

function begins(bytes: Uint8Array, front: Uint8Array): boolean {
  return front.every((byte, at) => bytes[at] === byte);
}
