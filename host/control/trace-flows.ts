/**
 * Trace flows: which packets `GET /v1/trace-text` tells of. nfqlb asks for their names in the order of definition; a packet
 * belongs to the first that matches it, plain ICMP by addresses alone, as with a promiscuous ping.
 */
import { readFlowChange } from '../config/change.js';
import type { Flow } from '../types/config.js';
import type { NfqlbFlowReply } from './api.js';
import { nfqlbFlowReply } from './flow-reply.js';
import { RequestError, type Routes, Streamed } from './server.js';

export class TraceFlows {
  private readonly byName = new Map<string, Flow>();
  private readonly counts = new Map<string, number>();
  private readonly listeners = new Set<() => void>();

  /** In the order of definition; one that is defined again keeps its place. */
  get flows(): readonly Flow[] {
    return [...this.byName.values()];
  }

  set(flow: Flow): void {
    this.byName.set(flow.name, flow);
    this.changed();
  }

  /** What is not there need not be deleted. */
  delete(name: string): void {
    this.byName.delete(name);
    this.counts.delete(name);
    this.changed();
  }

  /** A packet was told of for the flow `name`. */
  count(name: string): void {
    if (this.byName.has(name)) this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  replies(): NfqlbFlowReply[] {
    return this.flows.map(flow =>
      nfqlbFlowReply(flow, {
        name: flow.name,
        hidden: false,
        userRef: null,
        matchesCount: this.counts.get(flow.name) ?? 0,
      }),
    );
  }

  /** `listener` is called after each change, until the function that is returned is. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}

/** What somebody who traces is told: lines of text, until `gone`. */
export interface TraceRequest {
  /** nfqlb's 32 bits. */
  readonly mask: number;
  readonly flows: TraceFlows;
  readonly gone: AbortSignal;
}

export type TraceSource = (request: TraceRequest) => AsyncIterable<string>;

const MAX_MASK = 0xffffffff;

export function traceFlowRoutes(flows: TraceFlows, source: TraceSource): Routes {
  return {
    'GET /v1/trace-flows': () => flows.replies(),

    'POST /v1/trace-flows': ({ body }) => {
      const change = readFlowChange(body);
      if ('delete' in change) flows.delete(change.delete.name);
      else flows.set(change.set.flow);
      return {};
    },

    'GET /v1/trace-text': ({ query, gone }) => {
      const text = query.get('mask') ?? `${MAX_MASK}`;
      const mask = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
      if (!(mask <= MAX_MASK)) throw new RequestError(400, `mask ${text} is not a number of 32 bits`);
      return new Streamed('text/plain; charset=utf-8', source({ mask, flows, gone }));
    },
  };
}
