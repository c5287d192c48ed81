/** HTTP for Prometheus and for who asks for health: /metrics, /healthz, /readyz. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { ListenAddress } from '../types/config.js';
import { ClashError, EnvironmentError } from '../types/errors.js';
import { type Judgement, judgementOf } from '../types/health.js';
import { boundConnections } from './connections.js';
import { readFirstRequests } from './first-request.js';
import type { Observation } from './observation.js';
import { Rendering } from './rendering.js';

/** Loaded where it is wanted: prom-client takes some 10 MB. */
type Exposition = typeof import('./exposition.js');

export interface Answers {
  observe(): Observation;
  /** Worth keeping: a restart would bring nothing. */
  alive(): Judgement;
  /** Packets can be sent here. */
  ready(): Judgement;
}

interface Listening {
  readonly address: ListenAddress;
  readonly server: Server;
}

/** Milliseconds after which a connection ends, whatever it waits for. */
export interface MetricsLimits {
  readonly connectionMs?: number;
}

const REQUEST_MS = 10_000;
/** Node looks for late requests every 30 s by default: so long could idle connections keep everybody out. */
const LOOK_MS = 1000;
const MOST_CONNECTIONS = 64;
const PATHS = ['/metrics', '/healthz', '/readyz'];

export class MetricsServer {
  /** Until they are set, the daemon is starting: alive, and not ready. */
  answers: Answers | null = null;
  private listening: Listening | null = null;

  private readonly rendering = new Rendering();

  constructor(
    private readonly onError: (error: Error) => void,
    private readonly limits: MetricsLimits = {},
  ) {}

  /**
   * Listen on `address` from now on, nowhere if it is null, provided that `change` succeeds; else all stays as it was.
   * @throws ClashError, EnvironmentError if it cannot be had, before `change` is called; what `change` throws
   */
  async during(address: ListenAddress | null, change: () => Promise<void>): Promise<void> {
    const former = this.listening;
    if (textOf(former?.address) === textOf(address)) return change();
    // To the kernel a port on one address clashes with the same on all of them, ours with our own too.
    const clashes = former !== null && former.address.port === address?.port;
    if (clashes) await close(former);
    let next: Listening | null = null;
    try {
      next = address === null ? null : await this.open(address);
      this.listening = next;
      await change();
    } catch (error) {
      await close(next);
      this.listening = clashes ? await this.again(former.address) : former;
      throw error;
    }
    if (!clashes) await close(former);
  }

  async stop(): Promise<void> {
    const { listening } = this;
    this.listening = null;
    await close(listening);
  }

  private async open(address: ListenAddress): Promise<Listening> {
    const server = createServer({
      maxHeaderSize: 8192,
      requestTimeout: REQUEST_MS,
      headersTimeout: REQUEST_MS,
      connectionsCheckingInterval: LOOK_MS,
    });
    // The answer closes the connection.
    server.maxRequestsPerSocket = 1;
    readFirstRequests(server);
    boundConnections(server, MOST_CONNECTIONS, this.limits.connectionMs);
    const exposition = await import('./exposition.js');
    server.on('request', (request, response) => void this.answer(request, response, exposition));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(refusal(address, error)));
      // Without a host: IPv6 and IPv4, or IPv4 alone where there is no IPv6.
      server.listen({ port: address.port, host: address.host?.address }, resolve);
    });
    server.on('error', this.onError);
    return { address, server };
  }

  /** The port was ours a moment ago. */
  private async again(address: ListenAddress): Promise<Listening | null> {
    try {
      return await this.open(address);
    } catch (error) {
      this.onError(error as Error);
      return null;
    }
  }

  private async answer(
    request: IncomingMessage,
    response: ServerResponse,
    exposition: Exposition,
  ): Promise<void> {
    request.resume();
    try {
      const [path = '/'] = (request.url ?? '/').split('?');
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        response.setHeader('allow', 'GET, HEAD');
        send(response, 405, 'text/plain', `${request.method} is not possible, GET is\n`);
      } else if (path === '/metrics') await this.sendMetrics(response, exposition);
      else if (path === '/healthz') sendJudgement(response, this.answers?.alive() ?? starting(true));
      else if (path === '/readyz') sendJudgement(response, this.answers?.ready() ?? starting(false));
      else send(response, 404, 'text/plain', `there is no ${path}; there are ${PATHS.join(', ')}\n`);
    } catch (error) {
      this.onError(error as Error);
      if (response.headersSent) response.destroy();
      else send(response, 500, 'text/plain', `${(error as Error).message}\n`);
    }
  }

  private async sendMetrics(
    response: ServerResponse,
    { CONTENT_TYPE, exposition }: Exposition,
  ): Promise<void> {
    if (this.answers === null) send(response, 503, 'text/plain', 'magmark is starting\n');
    else {
      const { answers } = this;
      send(response, 200, CONTENT_TYPE, await this.rendering.get(async () => exposition(answers.observe())));
    }
  }
}

function starting(ok: boolean): Judgement {
  return judgementOf([{ name: 'started', ok, detail: 'magmark is starting' }]);
}

function sendJudgement(response: ServerResponse, judgement: Judgement): void {
  send(response, judgement.ok ? 200 : 503, 'application/json', `${JSON.stringify(judgement)}\n`);
}

function send(response: ServerResponse, status: number, contentType: string, text: string | Buffer): void {
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
  response.end(text);
}

async function close(listening: Listening | null): Promise<void> {
  if (listening === null) return;
  const closed = new Promise<void>(resolve => listening.server.close(() => resolve()));
  listening.server.closeAllConnections();
  await closed;
}

function textOf(address: ListenAddress | null | undefined): string {
  if (address == null) return '';
  const host = address.host === null ? '' : address.host.address;
  return `${address.host?.family === 6 ? `[${host}]` : host}:${address.port}`;
}

function refusal(address: ListenAddress, error: NodeJS.ErrnoException): Error {
  const text = textOf(address);
  return error.code === 'EADDRINUSE'
    ? new ClashError(`metrics.address: ${text} is taken: something else listens there`, { cause: error })
    : new EnvironmentError(`metrics.address: listen on ${text}: ${error.message}`, { cause: error });
}
