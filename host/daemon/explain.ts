/** `magmark explain` of the running daemon: who would get a packet now, and by which way. */
import { fiveTupleText, parseFiveTuple } from '../config/five-tuple.js';
import type { ExplainReply } from '../control/api.js';
import { RequestError } from '../control/server.js';
import { lookupBack, lookupRoute } from '../kernel/lookup.js';
import { explain } from '../simulator/explain.js';
import type { Daemon } from './daemon.js';

/** @throws RequestError if `text` is no packet */
export async function explainLive(daemon: Daemon, text: string): Promise<ExplainReply> {
  const tuple = parseFiveTuple(text);
  if (typeof tuple === 'string') throw new RequestError(400, tuple);
  const { idle } = daemon.service;
  const marks = new Set(idle.map(({ fwmark }) => fwmark));
  const { config } = daemon;
  const explanation = explain(config, tuple, (_stream, target) => !marks.has(target.fwmark));
  const { stream, fwmark } = explanation;
  const { vip, identifier } = explanation;
  const route = fwmark === null || vip === null ? null : await lookupRoute(tuple, fwmark);
  const device = route?.device ?? null;
  const back = identifier === null || device === null ? null : await lookupBack(tuple, device);
  return {
    packet: fiveTupleText(tuple),
    ...explanation,
    route,
    back,
    idle: idle
      .filter(({ label }) => stream !== null && label.startsWith(`${stream}/`))
      .map(({ label, reason }) => ({ target: label, reason })),
  };
}
