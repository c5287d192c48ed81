/** What `nfqlb trace` is told, from the rings: packets that match trace flows, or every packet. */
import { once } from 'node:events';
import type { TraceRequest, TraceSource } from '../control/trace-flows.js';
import { nfqlbTraceText } from './nfqlb-text.js';
import type { Tracer } from './tracer.js';

/** nfqlb's area `packet`: with no trace flow, every packet is told. The area `flows` alone tells nothing then. */
const PACKET = 1 << 1;

/** @param shm nfqlb's name of a stream */
export function nfqlbTrace(tracer: Tracer, shm: (stream: string) => string): TraceSource {
  return request => follow(tracer, shm, request);
}

async function* follow(
  tracer: Tracer,
  shm: (stream: string) => string,
  { mask, flows, gone }: TraceRequest,
): AsyncGenerator<string> {
  while (!gone.aborted) {
    const wanted = flows.flows;
    const changed = new AbortController();
    const forget = flows.onChange(() => changed.abort());
    const over = AbortSignal.any([gone, changed.signal]);
    try {
      if (wanted.length === 0 && (mask & PACKET) === 0) {
        await once(over, 'abort');
        continue;
      }
      const reader = await tracer.open({ flows: wanted, snapLength: 0 });
      // That it failed is told by the close below, which is waited for.
      const close = (): void => void reader.close().catch(() => undefined);
      if (over.aborted) close();
      else over.addEventListener('abort', close);
      let lost = 0;
      try {
        for await (const packets of reader) {
          for (const { traceFlow } of packets) if (traceFlow !== null) flows.count(traceFlow);
          yield packets.map(packet => `\n${nfqlbTraceText(packet, shm)}`).join('');
          if (reader.lost > lost) yield `\n${reader.lost - lost} packets were not told: too many at once\n`;
          lost = reader.lost;
        }
      } finally {
        await reader.close();
      }
    } finally {
      forget();
    }
  }
}
