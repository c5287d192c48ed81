/**
 * The control socket: HTTP with JSON on a unix socket of mode 0600, so that it accepts its owner alone. What can be asked
 * is a table of routes; sizes and times of requests are bounded.
 */
import { once } from 'node:events';
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { ConfigError, ControlError, MagmarkError } from '../types/errors.js';
import { shown } from '../types/text.js';
import type { ErrorReply } from './api.js';
import { Connections } from './connections.js';

export interface ControlRequest {
  readonly query: URLSearchParams;
  /** Text of the request's body, empty for GET. */
  readonly body: string;
  /** Aborted when who asked has gone, or the daemon stops: the end of a stream. */
  readonly gone: AbortSignal;
}

/** An answer that comes bit by bit; a slow reader is waited for, so nothing piles up. */
export interface StreamReply {
  readonly contentType: string;
  readonly chunks: AsyncIterable<string | Uint8Array>;
}

/**
 * What answers one method of one path: a value for JSON, an `Answered` one, or a stream.
 * @throws RequestError, or a MagmarkError: see `faultOf`
 */
export type Handler = (request: ControlRequest) => unknown;

/** Handlers by `METHOD PATH`, for example `GET /v1/status`. */
export type Routes = Readonly<Record<string, Handler>>;

/** A request that cannot be answered as it is; `status` is HTTP's. */
export class RequestError extends ControlError {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** A handler's stream, told from a value by its class. */
export class Streamed implements StreamReply {
  constructor(
    readonly contentType: string,
    readonly chunks: AsyncIterable<string | Uint8Array>,
  ) {}
}

/** A handler's value that goes with another status than 200. */
export class Answered {
  constructor(
    readonly status: number,
    readonly reply: unknown,
  ) {}
}

/** Bytes of a unix socket's path, less the final 0 (sun_path in unix(7)); Node cuts longer ones off. */
const MOST_PATH_BYTES = 107;
/** As long as a configuration may be (host/config/load.ts): 100,000 flows take 12 MB. */
const MOST_BODY_BYTES = 16 * 1024 * 1024;
const REQUEST_MS = 30_000;
/** Node looks for late requests every 30 s by default. */
const LOOK_MS = 1000;

export class ControlServer {
  /** Until they are set, every request is told that the daemon is starting. */
  routes: Routes | null = null;
  private readonly stopping = new AbortController();
  private readonly connections = new Connections();

  private constructor(
    private readonly server: Server,
    readonly path: string,
    private readonly onError: (error: Error) => void,
  ) {}

  /** @throws ControlError if the path is taken by something that is alive, is not a socket, or is no path for one */
  static async start(path: string, onError: (error: Error) => void): Promise<ControlServer> {
    if (Buffer.byteLength(path) > MOST_PATH_BYTES) {
      throw new ControlError(
        `control socket ${path}: longer than the ${MOST_PATH_BYTES} bytes of a socket's path`,
      );
    }
    const server = createServer({
      maxHeaderSize: 8192,
      requestTimeout: REQUEST_MS,
      headersTimeout: REQUEST_MS,
      connectionsCheckingInterval: LOOK_MS,
    });
    const control = new ControlServer(server, path, onError);
    server.on('connection', socket => control.connections.add(socket));
    server.on('request', (request, response) => void control.answer(request, response));
    const umask = process.umask(0o177);
    try {
      await removeStale(path);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, resolve);
      });
      chmodSync(path, 0o600);
    } catch (error) {
      server.close();
      if (error instanceof ControlError) throw error;
      throw new ControlError(`control socket ${path}: ${(error as Error).message}`);
    } finally {
      process.umask(umask);
    }
    server.on('error', onError);
    return control;
  }

  /** Take no further connection, and leave the path to others; requests under way are answered. */
  close(): void {
    this.server.close();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    this.server.closeAllConnections();
    await new Promise<void>(resolve => this.server.close(() => resolve()));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const ended = new AbortController();
    const { socket } = request;
    response.on('close', () => {
      ended.abort();
      this.connections.rest(socket);
    });
    try {
      if (!this.connections.work(socket)) throw new RequestError(503, 'too many requests at once: try again');
      const reply = await this.replyTo(request, AbortSignal.any([ended.signal, this.stopping.signal]));
      if (reply instanceof Streamed) {
        // Who gives a stream bounds their number.
        this.connections.forget(socket);
        await send(response, reply, ended.signal);
      } else if (reply instanceof Answered) sendJson(response, reply.status, reply.reply);
      else sendJson(response, 200, reply);
    } catch (error) {
      // Who asked has gone in the middle of an answer: there is nobody to tell.
      if (ended.signal.aborted) return;
      const [status, reply] = faultOf(error as Error);
      if (status === 500) this.onError(error as Error);
      if (response.headersSent) response.destroy();
      else sendJson(response, status, reply);
    }
  }

  private async replyTo(request: IncomingMessage, gone: AbortSignal): Promise<unknown> {
    const url = urlOf(request.url ?? '/');
    const { routes } = this;
    // A body that is not asked for is read all the same, or the answer could not be.
    const body = await bodyOf(request);
    if (routes === null) throw new RequestError(503, 'magmark is starting');
    const handler = routes[`${request.method} ${url.pathname}`];
    if (handler === undefined) throw unknownRoute(routes, request.method ?? '', url.pathname);
    return handler({ query: url.searchParams, body, gone });
  }
}

/** A socket that nobody listens on was left by a daemon that was killed. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new ControlError(`control socket ${path}: something that is not a socket stands there`);
  const alive = await new Promise<boolean>(resolve => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (alive) throw new ControlError(`control socket ${path}: another process listens there`);
  unlinkSync(path);
}

/** @throws RequestError */
function urlOf(text: string): URL {
  if (!URL.canParse(text, 'http://magmark')) throw new RequestError(400, `${shown(text)} is no path`);
  return new URL(text, 'http://magmark');
}

function unknownRoute(routes: Routes, method: string, path: string): RequestError {
  const known = Object.keys(routes).map(key => key.split(' ') as [string, string]);
  const methods = known.filter(([, other]) => other === path).map(([other]) => other);
  if (methods.length > 0)
    return new RequestError(405, `${method} is not possible on ${path}: ${methods.join(', ')} is`);
  const paths = [...new Set(known.map(([, other]) => other))];
  return new RequestError(404, `there is no ${shown(path)}; version 1 has ${paths.join(', ')}`);
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MOST_BODY_BYTES) {
        chunks.push(chunk);
        return;
      }
      // The rest is never read: the connection ends with the answer.
      request.pause();
      reject(new RequestError(413, `a body of more than ${MOST_BODY_BYTES} bytes`));
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    request.on('error', reject);
  });
}

/** HTTP's status and the words for a fault; what nobody expected is 500. */
function faultOf(error: Error): [status: number, reply: ErrorReply] {
  if (error instanceof RequestError) return [error.status, { error: error.message }];
  if (error instanceof ConfigError)
    return [400, { error: error.message, code: error.code, faults: error.faults }];
  if (error instanceof MagmarkError) return [409, { error: error.message, code: error.code }];
  return [500, { error: error.message }];
}

function sendJson(response: ServerResponse, status: number, reply: unknown): void {
  const whole = response.req.complete;
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(whole ? {} : { connection: 'close' }),
  });
  response.end(JSON.stringify(reply), () => {
    if (!whole) response.req.destroy();
  });
}

/** @param ended aborted when who asked has gone: what is not read then never drains */
async function send(
  response: ServerResponse,
  { contentType, chunks }: StreamReply,
  ended: AbortSignal,
): Promise<void> {
  response.writeHead(200, { 'content-type': contentType });
  response.flushHeaders();
  for await (const chunk of chunks)
    if (!response.write(chunk)) await once(response, 'drain', { signal: ended });
  response.end();
}
