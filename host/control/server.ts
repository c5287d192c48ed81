/** The control socket: HTTP with JSON on a unix socket of mode 0600. */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { ControlError } from '../types/errors.js';
import type { ErrorReply, FlowReply, StatusReply, StreamReply } from './api.js';

/** What can be asked. */
export interface Answers {
  status(): StatusReply;
  flows(): FlowReply[];
  streams(): StreamReply[];
}

export class ControlServer {
  private constructor(
    private readonly server: Server,
    readonly path: string,
  ) {}

  /** @throws ControlError if the path is taken by something that is alive, or is not a socket */
  static async start(
    path: string,
    answers: Answers,
    onError: (error: Error) => void,
  ): Promise<ControlServer> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    await removeStale(path);
    const server = createServer({ maxHeaderSize: 8192, requestTimeout: 5000 }, (request, response) => {
      answer(request, response, answers, onError);
    });
    const umask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, resolve);
      });
    } catch (error) {
      throw new ControlError(`control socket ${path}: ${(error as Error).message}`);
    } finally {
      process.umask(umask);
    }
    chmodSync(path, 0o600);
    server.on('error', onError);
    return new ControlServer(server, path);
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
  answers: Answers,
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

function replyTo(request: IncomingMessage, answers: Answers): [status: number, reply: unknown] {
  const routes = new Map<string, () => unknown>([
    ['/v1/status', () => answers.status()],
    ['/v1/flows', () => answers.flows()],
    ['/v1/streams', () => answers.streams()],
  ]);
  const fault = (status: number, error: string): [number, ErrorReply] => [status, { error }];
  const route = routes.get(request.url ?? '');
  if (route === undefined)
    return fault(404, `there is no ${request.url}; version 1 has ${[...routes.keys()].join(', ')}`);
  if (request.method !== 'GET') return fault(405, `${request.method} is not possible on ${request.url}`);
  return [200, route()];
}

function send(response: ServerResponse, status: number, reply: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(reply));
}
