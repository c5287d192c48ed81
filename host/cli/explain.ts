/** `magmark explain`: who gets a packet, by which way, and why no other flow took it. */
import { readConfig } from '../config/file.js';
import { fiveTupleText, parseFiveTuple } from '../config/five-tuple.js';
import type { ExplainReply } from '../control/api.js';
import { explain } from '../simulator/explain.js';
import { ConfigError } from '../types/errors.js';

/** Without a daemon: all targets of the file take traffic, and there is no kernel to ask for a way. @throws ConfigError */
export async function explainOffline(file: string, text: string): Promise<ExplainReply> {
  const tuple = parseFiveTuple(text);
  if (typeof tuple === 'string') throw new ConfigError([tuple]);
  return {
    packet: fiveTupleText(tuple),
    ...explain(await readConfig(file), tuple),
    route: null,
    back: null,
    idle: [],
  };
}

export function explanationText(reply: ExplainReply): string {
  const { packet, reason, flow, stream, hash, slot, tableSize, identifier, fwmark, route } = reply;
  const lines: [string, string][] = [['packet', packet]];
  if (reply.vip === null)
    lines.push([
      'vip',
      'none holds the destination: the ruleset queues packets to VIPs alone, so this one never reaches magmark',
    ]);
  else lines.push(['vip', reply.vip]);
  for (const { name, priority, misses } of reply.tried)
    lines.push(['flow', `${name} (priority ${priority}): ${misses ?? 'matches'}`]);
  if (flow !== null && reply.notAsked > 0)
    lines.push(['', `${reply.notAsked} more flows are behind it and were not asked`]);
  if (stream !== null) lines.push(['stream', stream], ['hash', `${hash}, slot ${slot} of ${tableSize}`]);
  for (const { target, reason: why } of reply.idle) lines.push(['', `${target} takes no traffic: ${why}`]);
  if (identifier !== null) lines.push(['target', String(identifier)]);
  if (reply.vip === null)
    lines.push(['mark', 'none: the packet never reaches magmark. Add the address to `vips`']);
  else
    lines.push([
      'mark',
      fwmark === null ? `none: the packet is dropped (${reason})` : `${fwmark} (${reason})`,
    ]);
  if (route !== null) {
    const { table, via, device, neighbour, local, error } = route;
    if (table !== null) lines.push(['table', String(table)]);
    lines.push([
      'next hop',
      local ?? error ?? `${via ?? 'on link'} dev ${device}, neighbour ${neighbour ?? 'not known yet'}`,
    ]);
  }
  const { back } = reply;
  if (back !== null) {
    const way =
      back.error ??
      `table ${back.table}, ${back.via === null ? 'on link' : `gateway ${back.via}`} dev ${back.device}`;
    lines.push(['way back', `from the VIP to the client: ${way}`]);
  }
  const { mode, first, later } = reply.fragments;
  if (mode === 'kernel') lines.push(['fragment', first]);
  else lines.push(['fragment', `the first: ${first}`], ['', `a later one: ${later}`]);
  const width = Math.max(...lines.map(([head]) => head.length));
  return `${lines.map(([head, text]) => `${head.padEnd(width)}  ${text}`).join('\n')}\n`;
}
