/** Asks the daemon over its control socket. Nothing but node:http, so that a command starts fast. */
import { request } from 'node:http';
import { ControlError } from '../types/errors.js';

const TIMEOUT_MS = 5000;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/**
 * @param path for example `/v1/flows`
 * @throws ControlError that names the socket, if nobody answers there or the answer is not 200
 */
export async function ask<Reply>(socketPath: string, path: string): Promise<Reply> {
  const { status, text } = await get(socketPath, path);
  let reply: unknown;
  try {
    reply = JSON.parse(text);
  } catch {
    throw new ControlError(
      `${socketPath} answered ${path} with status ${status} and something that is not JSON`,
    );
  }
  if (status !== 200)
    throw new ControlError(
      (reply as { error?: string }).error ?? `${socketPath} answered ${path} with status ${status}`,
    );
  return reply as Reply;
}

function get(socketPath: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const reason =
        error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
          ? 'no magmark answers there. Does it run in this network namespace (ip netns exec NAME ...), or elsewhere (--socket)?'
          : error.code === 'EACCES'
            ? 'permission denied: it belongs to the user that runs magmark'
            : error.message;
      reject(new ControlError(`control socket ${socketPath}: ${reason}`));
    };
    const call = request(
      { socketPath, path, headers: { host: 'magmark' }, timeout: TIMEOUT_MS },
      response => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_REPLY_BYTES)
            call.destroy(new Error(`an answer of more than ${MAX_REPLY_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
        response.on('error', fail);
      },
    );
    call.on('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    call.on('error', fail);
    call.end();
  });
}
