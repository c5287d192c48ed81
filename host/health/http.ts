/** A target answers if its response to a GET has status 200 to 399. Redirects are not followed, bodies not read. */
import { request } from 'node:http';
import { type Attempt, attempt } from './attempt.js';
import { attempted, place, type Question } from './question.js';
import { connectMarked, errorText } from './stream.js';

/** Of the status line and the headers. */
const MAX_HEADER_BYTES = 16_384;
/** RFC 9110, section 7.2: a Host header leaves the scheme's own port out. */
const HTTP_PORT = 80;

/** @throws EnvironmentError, KernelError where no socket is to be had */
export function askHttp(question: Question): Attempt {
  const { host, check } = question;
  const { path, port, timeoutMs } = check;
  const socket = connectMarked(question);
  let waitsFor = 'connection';
  socket.once('connect', () => {
    waitsFor = 'response';
  });
  return attempt(timeoutMs, settle => {
    const bare = host.family === 6 ? `[${host.address}]` : host.address;
    const asked = request({
      method: 'GET',
      path: path!,
      headers: {
        host: port === HTTP_PORT ? bare : place(question),
        'user-agent': 'magmark',
        accept: '*/*',
        connection: 'close',
      },
      maxHeaderSize: MAX_HEADER_BYTES,
      // With any agent, `false` included, Node makes a connection of its own and never calls this.
      createConnection: () => socket,
    });
    asked.once('response', ({ statusCode = 0 }) => {
      settle(statusCode >= 200 && statusCode < 400 ? null : `${attempted(question)}: status ${statusCode}`);
    });
    asked.on('error', error => settle(`${attempted(question)}: ${errorText(error)}`));
    asked.end();
    return {
      late: () => `${attempted(question)}: no ${waitsFor} within ${timeoutMs} ms`,
      end: () => {
        asked.destroy();
        // The request gets its socket a turn later than it is made.
        socket.destroy();
      },
    };
  });
}
