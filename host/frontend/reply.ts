/**
 * Replies on BIRD's control socket (BIRD 2.0 Programmer's Documentation, "Command line interface"): lines of a
 * four-digit code, `-` where more lines follow or a space in the last one, and text. A line that begins with a space goes
 * on with the code before it; one that begins with `+` is no part of a reply.
 */
import { ControlError } from '../types/errors.js';

export interface ReplyLine {
  /** The first digit tells what it is: 0 success, 1 and 2 data, 8 run-time error, 9 syntax error. */
  readonly code: number;
  readonly text: string;
}

export type Reply = readonly ReplyLine[];

const CODED = /^(?<code>[0-9]{4})(?<more>[ -])(?<text>.*)$/s;
const FIRST_ERROR = 8000;

/** BIRD's words, if the reply is a refusal. */
export function refusalOf(reply: Reply): string | null {
  const words = reply.filter(({ code }) => code >= FIRST_ERROR).map(({ text }) => text.trim());
  return words.length === 0 ? null : words.join('; ');
}

/** Text of the lines with `code`. */
export function linesOf(reply: Reply, code: number): string[] {
  return reply.filter(line => line.code === code).map(({ text }) => text);
}

/** Puts replies together from pieces of a stream. */
export class ReplyReader {
  private rest = '';
  private lines: ReplyLine[] = [];

  /** @returns replies that `chunk` completes. @throws ControlError at a line that BIRD does not speak, or without end */
  push(chunk: string): Reply[] {
    if (!chunk.includes('\n')) {
      this.rest += chunk;
      return [];
    }
    const pieces = (this.rest + chunk).split('\n');
    this.rest = pieces.pop()!;
    return pieces.flatMap(line => this.line(line) ?? []);
  }

  /** Characters of the reply that is not complete yet. */
  get pending(): number {
    return this.rest.length + this.lines.reduce((sum, { text }) => sum + text.length, 0);
  }

  private line(line: string): [Reply] | null {
    if (line.startsWith('+')) return null;
    const before = this.lines.at(-1);
    if (line.startsWith(' ') && before !== undefined) {
      this.lines.push({ code: before.code, text: line.slice(1) });
      return null;
    }
    const groups = CODED.exec(line)?.groups;
    if (groups === undefined)
      throw new ControlError(`not a line of BIRD: ${JSON.stringify(line.slice(0, 100))}`);
    this.lines.push({ code: Number(groups.code), text: groups.text! });
    if (groups.more === '-') return null;
    const reply = this.lines;
    this.lines = [];
    return [reply];
  }
}
