/** Asks the daemon over its control socket. Nothing but node:http, so that a command starts fast. */
import { type IncomingMessage, request } from 'node:http';
import { ControlError } from '../types/errors.js';
import { printableLines } from '../types/text.js';
import type { ErrorReply, HealthReply } from './api.js';

/** A change of a large configuration takes its time. */
const TIMEOUT_MS = 60_000;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/** The daemon answered, and refused. */
export class RefusedError extends ControlError {
  constructor(
    /** HTTP's. */
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/**
 * @param path for example `/v1/flows`
 * @param body for POST; none: GET
 * @throws ControlError that names the socket, if nobody answers there; RefusedError if the answer is not 200
 */
export async function ask<Reply>(socketPath: string, path: string, body?: string): Promise<Reply> {
  const { status, text } = await call(socketPath, path, body);
  let reply: unknown;
  try {
    reply = JSON.parse(text, harmless);
  } catch {
    throw new ControlError(
      `${socketPath} answered ${path} with status ${status} and something that is not JSON`,
    );
  }
  if (status !== 200)
    throw new RefusedError(
      status,
      (reply as { error?: string }).error ?? `${socketPath} answered ${path} with status ${status}`,
    );
  return reply as Reply;
}

/** What a daemon says goes to a terminal, and quotes file names and other programs. */
function harmless(_: string, value: unknown): unknown {
  return typeof value === 'string' ? printableLines(value) : value;
}

/** Of who asks for health: who takes longer is not well. */
const HEALTH_MS = 10_000;

/**
 * What the daemon says of itself, also where it is not well.
 * @param path `/v1/health` or `/v1/ready`
 * @throws ControlError as `ask` does; RefusedError while it is starting
 */
export async function askHealth(socketPath: string, path: string): Promise<HealthReply> {
  const response = await open(socketPath, path, undefined, undefined, HEALTH_MS);
  const reply = JSON.parse(await textOf(response), harmless) as HealthReply | ErrorReply;
  if ('error' in reply) throw new RefusedError(response.statusCode ?? 0, reply.error);
  return reply;
}

/**
 * An answer that comes bit by bit, until the daemon or `signal` ends it.
 * @throws ControlError as `ask` does
 */
export async function* follow(
  socketPath: string,
  path: string,
  signal?: AbortSignal,
  body?: string,
): AsyncGenerator<Buffer> {
  const response = await open(socketPath, path, body, signal);
  if (response.statusCode !== 200) {
    const { error } = JSON.parse(await textOf(response)) as { error: string };
    throw new RefusedError(response.statusCode ?? 0, error);
  }
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    if (signal?.aborted !== true)
      throw new ControlError(`control socket ${socketPath}: ${(error as Error).message}`);
  }
}

async function call(
  socketPath: string,
  path: string,
  body?: string,
): Promise<{ status: number; text: string }> {
  const response = await open(socketPath, path, body);
  return { status: response.statusCode ?? 0, text: await textOf(response) };
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_REPLY_BYTES) throw new ControlError(`an answer of more than ${MAX_REPLY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function open(
  socketPath: string,
  path: string,
  body?: string,
  signal?: AbortSignal,
  timeout = TIMEOUT_MS,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const reason =
        error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
          ? 'no magmark answers there. Does it run in this network namespace (ip netns exec NAME ...), or elsewhere (--socket)?'
          : error.code === 'EACCES'
            ? 'permission denied: it belongs to the user that runs magmark'
            : error.message;
      reject(new ControlError(`control socket ${socketPath}: ${reason}`, { cause: error }));
    };
    const outgoing = request(
      {
        socketPath,
        path,
        method: body === undefined ? 'GET' : 'POST',
        headers: { host: 'magmark' },
        // One request a connection: a connection that is kept would keep a command from ending.
        agent: false,
        ...(signal === undefined ? { timeout } : { signal }),
      },
      resolve,
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeout} ms`)));
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}
