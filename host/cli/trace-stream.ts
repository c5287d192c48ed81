/** A trace of the daemon: its lines, and an end that a signal asks for. */
import type { TraceLine } from '../control/api.js';
import { ask, follow } from '../control/client.js';
import { socketPath } from '../control/socket.js';

/** Options that choose packets; nfqlb's flow syntax. */
export interface TraceChoice {
  readonly socket?: string;
  readonly protocols?: string;
  readonly dsts?: string;
  readonly srcs?: string;
  readonly dports?: string;
  readonly sports?: string;
  readonly match?: string;
  readonly count?: string;
}

const KEYS = ['protocols', 'dsts', 'srcs', 'dports', 'sports', 'match', 'count'] as const;

/**
 * Lines until the daemon or SIGINT or SIGTERM ends it: what is on its way at the first of them is still told, the second
 * ends at once.
 * @throws ControlError
 */
export async function* traceStream(choice: TraceChoice, snapLength: number): AsyncGenerator<TraceLine> {
  const socket = socketPath(choice.socket);
  const query = new URLSearchParams({ snaplen: `${snapLength}` });
  for (const key of KEYS) {
    const value = choice[key];
    if (value !== undefined) query.set(key, value);
  }
  const cut = new AbortController();
  let reader: number | null = null;
  let asked = false;
  const end = (): void => {
    if (asked || reader === null) cut.abort();
    else ask(socket, '/v1/trace/end', JSON.stringify({ reader })).catch(() => cut.abort());
    asked = true;
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  try {
    for await (const text of textLines(follow(socket, `/v1/trace?${query}`, cut.signal))) {
      const line = JSON.parse(text) as TraceLine;
      if (line.type === 'reader') reader = line.reader;
      yield line;
    }
  } finally {
    process.off('SIGINT', end);
    process.off('SIGTERM', end);
  }
}

async function* textLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
}
