/** The control socket: HTTP with JSON on a unix socket of mode 0600. */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { ControlError } from '../types/errors.js';
import type { ErrorReply, FlowReply, StatusReply, StreamReply } from './api.js';

/** What can be asked. */
export interface Answers {
  status(): StatusReply;
  flows(): FlowReply[];
  streams(): StreamReply[];
}

/** Bytes of a unix socket's path, less the final 0 (sun_path in unix(7)); Node cuts longer ones off. */
const MOST_PATH_BYTES = 107;

export class ControlServer {
  /** Until they are set, every request is told that the daemon is starting. */
  answers: Answers | null = null;

  private constructor(
    private readonly server: Server,
    readonly path: string,
  ) {}

  /** @throws ControlError if the path is taken by something that is alive, is not a socket, or is no path for one */
  static async start(path: string, onError: (error: Error) => void): Promise<ControlServer> {
    if (Buffer.byteLength(path) > MOST_PATH_BYTES) {
      throw new ControlError(
        `control socket ${path}: longer than the ${MOST_PATH_BYTES} bytes of a socket's path`,
      );
    }
    const server = createServer({ maxHeaderSize: 8192, requestTimeout: 5000 });
    const control = new ControlServer(server, path);
    server.on('request', (request, response) => answer(request, response, control.answers, onError));
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

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>(resolve => this.server.close(() => resolve()));
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

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  answers: Answers | null,
  onError: (error: Error) => void,
): void {
  request.resume();
  try {
    const [status, reply] = replyTo(request, answers);
    send(response, status, reply);
  } catch (error) {
    onError(error as Error);
    send(response, 500, { error: (error as Error).message } satisfies ErrorReply);
  }
}

/** What each path answers. */
const ROUTES = new Map<string, (answers: Answers) => unknown>([
  ['/v1/status', answers => answers.status()],
  ['/v1/flows', answers => answers.flows()],
  ['/v1/streams', answers => answers.streams()],
]);

function replyTo(request: IncomingMessage, answers: Answers | null): [status: number, reply: unknown] {
  const fault = (status: number, error: string): [number, ErrorReply] => [status, { error }];
  const route = ROUTES.get(request.url ?? '');
  if (route === undefined) {
    return fault(404, `there is no ${request.url}; version 1 has ${[...ROUTES.keys()].join(', ')}`);
  }
  if (request.method !== 'GET') return fault(405, `${request.method} is not possible on ${request.url}`);
  if (answers === null) return fault(503, 'magmark is starting');
  return [200, route(answers)];
}

function send(response: ServerResponse, status: number, reply: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(reply));
}
