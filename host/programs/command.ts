/**
 * Programs that do one thing and end: nft, ip and the like. Contract of this room (host/programs): every other program
 * that the host starts is started here, so that each can be seen, bounded and faked in one place.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { EnvironmentError, KernelError } from '../types/errors.js';
import { cut } from '../types/text.js';
import { refuseWithoutDescriptors } from './descriptors.js';
import { excerpt } from './excerpt.js';
import { onFile } from './file.js';
import { programs, type Running } from './running.js';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Text for the program's standard input. */
  readonly input?: string;
  /** Hand a failing exit code back rather than throw: for batches whose lines fail one by one. */
  readonly allowFailure?: boolean;
  /** After this time, in ms, the program is killed and the command has failed; default 30,000. */
  readonly boundMs?: number;
  /** A program that prints more is killed and the command has failed; default 32 Mi. */
  readonly maxCharacters?: number;
}

/**
 * Start a program and wait for its end. Tests of rendering take a fake one.
 * @throws KernelError with command line, exit code and stderr; EnvironmentError if the program cannot be started
 */
export type Run = (
  program: string,
  args: readonly string[],
  options?: CommandOptions,
) => Promise<CommandResult>;

/** A listing of 10,000 rules takes 25 ms: what takes this long hangs, however loaded the machine is. */
const BOUND_MS = 30_000;
/** A listing of 10,000 targets has 1.4 MB a family (measured); the rest is for routes and rules of others. */
const MOST_CHARACTERS = 32 * 1024 * 1024;

/** Logins of Debian lack the directories where nft, ip and iptables-nft stand. */
export const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

export const run: Run = async (program, args, options = {}) => {
  if (options.input === undefined) return runWith({ stdin: 'ignore' }, program, args, options);
  if (READS_STDIN.has(program)) return runWith({ input: options.input }, program, args, options);
  const file = await inputFile(options.input);
  try {
    // Any descriptor does; execa's types name 0 alone.
    return await runWith({ stdin: file.fd as 0 }, program, args, options);
  } finally {
    await onFile('close', 'the input of a command', () => file.close());
  }
};

/** These read what they have open; a pipe is 1 ms quicker than a file. */
const READS_STDIN = new Set(['ip']);

/**
 * An open file without a name that holds `text`. Node's pipes are sockets, and nft opens /dev/stdin by its path, which
 * the kernel refuses for a socket.
 */
async function inputFile(text: string): Promise<FileHandle> {
  const refusals: string[] = [];
  // A container with a read-only root has no writable /tmp, but it has /dev/shm.
  for (const directory of [tmpdir(), '/dev/shm']) {
    const path = join(directory, `magmark-${randomUUID()}`);
    try {
      const writer = await open(path, 'wx', 0o600);
      try {
        await writer.writeFile(text);
        return await open(path, 'r');
      } finally {
        await unlink(path);
        await writer.close();
      }
    } catch (error) {
      refusals.push(`${path}: ${(error as Error).message}`);
    }
  }
  throw new EnvironmentError(`no place for the input of commands: ${refusals.join('; ')}`);
}

async function runWith(
  source: { readonly stdin: 'ignore' | 0 } | { readonly input: string },
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const { maxCharacters = MOST_CHARACTERS } = options;
  const line = [program, ...args].join(' ');
  refuseWithoutDescriptors(program);
  const boundMs = programs.boundMs(options.boundMs ?? BOUND_MS);
  const subprocess = execa(program, args, {
    ...source,
    // Its error about a program that failed copies each line of the output: 1.6 GB of 32 Mi characters.
    buffer: false,
    killSignal: 'SIGKILL',
    env: { LC_ALL: 'C', PATH },
    reject: false,
  });
  let killed: string | null = null;
  const kill = (why: string): void => {
    killed ??= why;
    subprocess.kill('SIGKILL');
    // What it started may have them open, and would be waited for.
    subprocess.stdout?.destroy();
    subprocess.stderr?.destroy();
  };
  const tooMuch = (): void => kill(`it printed more than ${maxCharacters} characters`);
  const stdout = collected(subprocess.stdout, maxCharacters, tooMuch);
  const stderr = collected(subprocess.stderr, maxCharacters, tooMuch);
  const running: Running = { program, line, began: performance.now(), kill };
  programs.add(running);
  const timer = setTimeout(kill, boundMs, `no end after ${Math.round(boundMs)} ms`);
  const result = await subprocess.finally(() => {
    clearTimeout(timer);
    programs.delete(running);
  });
  if (killed !== null) throw new KernelError(`${line}: ${killed}`);
  if (result.exitCode === undefined) throw endOf(result, program, line);
  if (result.exitCode !== 0 && options.allowFailure !== true) {
    throw new KernelError(`${line}: exit code ${result.exitCode}: ${cut(stderr().trim(), MOST_WORDS)}`);
  }
  return { exitCode: result.exitCode, stdout: stdout(), stderr: stderr() };
}

/** @returns what came out of `stream`; `tooMuch` is called once where it is longer than `most` characters */
function collected(stream: Readable | null, most: number, tooMuch: () => void): () => string {
  let pieces: string[] = [];
  let length = 0;
  stream?.setEncoding('utf8').on('data', (piece: string) => {
    if (length > most) return;
    length += piece.length;
    pieces.push(piece);
    if (length <= most) return;
    pieces = [];
    tooMuch();
  });
  return () => pieces.join('');
}

/** A program may complain of each of thousands of lines. */
const MOST_WORDS = 16 * 1024;

/** Why it was not started, or which signal ended it. */
function endOf(
  result: {
    readonly code?: string | undefined;
    readonly shortMessage?: string | undefined;
    readonly signal?: string | undefined;
  },
  program: string,
  line: string,
): Error {
  const { code, shortMessage, signal } = result;
  if (code === 'ENOENT') return new EnvironmentError(`${program} is not installed (looked in ${PATH})`);
  if (code === 'EACCES') {
    return new EnvironmentError(`${program} is in ${PATH}, but it may not be executed (EACCES)`);
  }
  return new KernelError(`${line}: ${shortMessage ?? `ended by ${signal}`}`);
}

/** ip's words for a dump that the kernel could not finish as it was: it exits with 0 all the same. */
const PARTIAL = /Dump was interrupted|Message truncated|Remnant of size/;
/** A change meanwhile interrupts a dump; several in a row are a fault. */
const MOST_DUMPS = 5;

/** Run `ip` until it lists everything. @throws KernelError */
export async function listWhole(
  run: Run,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  for (let count = 1; ; count += 1) {
    const { stdout, stderr } = await run('ip', args, options);
    if (!isPartial(stderr)) return stdout;
    if (count === MOST_DUMPS) {
      throw new KernelError(`ip ${args.join(' ')}: ${count} listings were not whole: ${excerpt(stderr)}`);
    }
  }
}

/** Whether ip complains that its listing is not whole. */
export function isPartial(stderr: string): boolean {
  return PARTIAL.test(stderr);
}

/** What `ip -j` lists. @throws KernelError, also if it prints nothing: "nothing" is an empty list */
export async function listJson(run: Run, args: readonly string[]): Promise<unknown[]> {
  return parseEntries(await listWhole(run, args), `ip ${args.join(' ')}`);
}

/** A list of JSON objects. @throws KernelError at anything else */
export function parseEntries(output: string, what: string): unknown[] {
  const entries = parseJson(output, what);
  const areEntries =
    Array.isArray(entries) && entries.every(entry => typeof entry === 'object' && entry !== null);
  if (!areEntries) throw new KernelError(`${what}: its output is not a list of objects: ${excerpt(output)}`);
  return entries;
}

/** The value of a command's JSON output. @throws KernelError if it is none */
export function parseJson(output: string, what: string): unknown {
  try {
    return JSON.parse(output);
  } catch (error) {
    const shown = output.trim() === '' ? 'it printed nothing' : `its output is no JSON: ${excerpt(output)}`;
    throw new KernelError(`${what}: ${shown}`, { cause: error });
  }
}
