/** Traces over the control socket: lines of JSON, see `TraceLine` in host/control/api.ts. */
import type { TraceLine } from '../control/api.js';
import { type ControlRequest, RequestError, type Routes, Streamed } from '../control/server.js';
import type { CapturedTrace, TraceFlow } from '../types/trace.js';
import { CONDITIONS, parseTraceFlow } from './filter.js';
import type { TraceReader } from './reader.js';
import type { Tracer } from './tracer.js';

/** Name of the flow that a query describes: nobody sees it. */
const ONLY_FLOW = 'query';
const OPTIONS: readonly string[] = [...CONDITIONS, 'snaplen', 'count'];

/**
 * `GET /v1/trace?protocols=&dsts=&srcs=&dports=&sports=&match=&snaplen=&count=` follows until the client goes, `count`
 * packets were told, or `POST /v1/trace/end` with `{"reader": ID}` ends it, which tells what is on its way first.
 * @param mostSnapLength bytes of a packet that are there at most
 * @param onError        is told why the place of a reader that went away could not be freed
 */
export function traceRoutes(tracer: Tracer, mostSnapLength: number, onError: (error: Error) => void): Routes {
  const readers = new Map<number, TraceReader>();
  let opened = 0;
  return {
    'GET /v1/trace': async ({ query, gone }: ControlRequest) => {
      const flows = flowsOf(query);
      const snapLength = number(query, 'snaplen', 0, mostSnapLength) ?? 0;
      const count = number(query, 'count', 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY;
      const reader = await tracer.open({ flows, snapLength });
      const id = ++opened;
      readers.set(id, reader);
      const leave = (): void => {
        readers.delete(id);
        reader.close().catch(onError);
      };
      if (gone.aborted) leave();
      else gone.addEventListener('abort', leave);
      return new Streamed('application/x-ndjson', lines(reader, id, count));
    },

    'POST /v1/trace/end': async ({ body }: ControlRequest) => {
      const reader = readers.get(readerOf(body));
      if (reader === undefined) throw new RequestError(404, 'there is no such reader');
      await reader.close();
      return {};
    },
  };
}

async function* lines(reader: TraceReader, id: number, count: number): AsyncGenerator<string> {
  const text = (line: TraceLine): string => `${JSON.stringify(line)}\n`;
  yield text({ type: 'reader', reader: id });
  let told = 0;
  let lost = 0;
  for await (const batch of reader) {
    const packets = batch.slice(0, count - told);
    told += packets.length;
    let chunk = packets.map(packet => text(lineOf(packet))).join('');
    if (reader.lost > lost && told < count) {
      lost = reader.lost;
      chunk += text({ type: 'lost', lost });
    }
    yield chunk;
    if (told === count) {
      // What is lost from here on, nobody wants.
      yield text({ type: 'end', lost: reader.lost });
      await reader.close();
      return;
    }
  }
  yield text({ type: 'end', lost: reader.lost });
}

function lineOf({ packet, ...rest }: CapturedTrace): TraceLine {
  return packet.length === 0
    ? { type: 'packet', ...rest }
    : { type: 'packet', ...rest, packet: Buffer.from(packet.buffer).toString('base64') };
}

/** No condition: every packet. */
function flowsOf(query: URLSearchParams): TraceFlow[] {
  for (const key of query.keys())
    if (!OPTIONS.includes(key))
      throw new RequestError(400, `there is no option ${key}: ${OPTIONS.join(', ')} are`);
  const written = Object.fromEntries(
    CONDITIONS.flatMap(key => {
      const values = query.getAll(key).filter(value => value !== '');
      return values.length === 0 ? [] : [[key, values.join(',')]];
    }),
  );
  if (Object.keys(written).length === 0) return [];
  return [parseTraceFlow(ONLY_FLOW, written)];
}

function number(query: URLSearchParams, key: string, least: number, most: number): number | null {
  const text = query.get(key);
  if (text === null) return null;
  if (!/^[0-9]{1,15}$/.test(text) || Number(text) < least || Number(text) > most)
    throw new RequestError(400, `${key}: ${text} is not a whole number from ${least} to ${most}`);
  return Number(text);
}

function readerOf(body: string): number {
  try {
    const { reader } = JSON.parse(body) as { reader?: unknown };
    if (typeof reader === 'number') return reader;
  } catch {
    // Told below, like every other body.
  }
  throw new RequestError(400, 'the body is not {"reader": NUMBER}');
}
