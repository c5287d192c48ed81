/**
 * The only file that starts programs. Contract of this room (host/kernel): it renders what the kernel shall hold,
 * compares that with what the kernel lists, and changes the difference; `kernel.ts` is its door.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { EnvironmentError, KernelError } from '../types/errors.js';

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
}

/**
 * Start a program and wait for its end. Tests of rendering take a fake one.
 * @throws KernelError with command line, exit code and stderr; EnvironmentError if the program is not installed
 */
export type Run = (
  program: string,
  args: readonly string[],
  options?: CommandOptions,
) => Promise<CommandResult>;

/** No command of this room took over 0.2 s for 1,000 rules; one that takes this long hangs. */
const TIMEOUT_MS = 10_000;

/** Logins of Debian lack the directories where nft, ip and iptables-nft stand. */
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

export const run: Run = async (program, args, options = {}) => {
  if (options.input === undefined) {
    return runWith('ignore', program, args, options);
  }
  const file = await inputFile(options.input);
  try {
    return await runWith(file.fd, program, args, options);
  } finally {
    await file.close();
  }
};

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
      await writeFile(path, text, { flag: 'wx', mode: 0o600 });
      try {
        return await open(path, 'r');
      } finally {
        await unlink(path);
      }
    } catch (error) {
      refusals.push((error as Error).message);
    }
  }
  throw new EnvironmentError(`no place for the input of commands: ${refusals.join('; ')}`);
}

async function runWith(
  stdin: 'ignore' | number,
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const result = await execa(program, args, {
    // Any descriptor does; execa's types name 0 alone.
    stdin: stdin as 'ignore' | 0,
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
    env: { LC_ALL: 'C', PATH },
    reject: false,
    stripFinalNewline: false,
  });
  const line = [program, ...args].join(' ');
  if (result.timedOut) {
    throw new KernelError(`${line}: no end after ${TIMEOUT_MS} ms`);
  }
  if (result.exitCode === undefined) {
    if (result.code === 'ENOENT') {
      throw new EnvironmentError(`${program} is not installed (looked in ${PATH})`);
    }
    throw new KernelError(`${line}: ${result.shortMessage ?? `ended by ${result.signal}`}`);
  }
  if (result.exitCode !== 0 && options.allowFailure !== true) {
    throw new KernelError(`${line}: exit code ${result.exitCode}: ${result.stderr.trim()}`);
  }
  return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr };
}

/** The value of a command's JSON output. @throws KernelError if it is none */
export function parseJson(output: string, what: string): unknown {
  try {
    return JSON.parse(output);
  } catch (error) {
    throw new KernelError(`${what}: its output is no JSON: ${(error as Error).message}`, { cause: error });
  }
}
