/** nfqlb's listings, letter by letter. */
import type { FragmentsReply, NfqlbFlowReply, NfqlbStreamReply } from './api.js';

/** A JSON array of flows; conditions that are absent are left out. */
export function flowListText(flows: readonly NfqlbFlowReply[]): string {
  return `[${flows.map(flowText).join(',\n')}]\n`;
}

/** A JSON array of names. */
export function namesText(flows: readonly NfqlbFlowReply[]): string {
  if (flows.length === 0) return '[]\n';
  return `[\n${flows.map(({ name }) => `  ${JSON.stringify(name)}`).join(',\n')}\n]\n`;
}

/** One flow; nfqlb ends it without a line end. */
export function flowText(flow: NfqlbFlowReply): string {
  const array = (key: string, values: readonly string[]): string[] =>
    values.length === 0
      ? []
      : [`  "${key}": [\n${values.map(value => `    ${JSON.stringify(value)}`).join(',\n')}\n  ]`];
  const lines = [
    `  "name": ${JSON.stringify(flow.name)}`,
    `  "priority": ${flow.priority}`,
    ...(flow.protocols.length === 0
      ? []
      : [`  "protocols": [ ${flow.protocols.map(name => `"${name}"`).join(', ')} ]`]),
    ...array('dests', flow.dests),
    ...array('dports', flow.dports),
    ...array('srcs', flow.srcs),
    ...array('sports', flow.sports),
    ...array('match', flow.match),
    ...(flow.udpencap > 0 ? [`  "udpencap": ${flow.udpencap}`] : []),
    `  "matches_count": ${flow.matchesCount}`,
    ...(flow.userRef === null ? [] : [`  "user_ref": ${JSON.stringify(flow.userRef)}`]),
  ];
  return `{\n${lines.join(',\n')}\n}`;
}

export function showText(stream: NfqlbStreamReply): string {
  const active = stream.active.map(({ index, fwmark }) => ` ${fwmark}(${index})`).join('');
  return [
    `Shm: ${stream.name}`,
    `  Fw: own=${stream.own}`,
    `  Maglev: M=${stream.tableSize}, N=${stream.maxTargets}`,
    `   Lookup: ${stream.lookup.join(' ')}...`,
    `   Active:${active}`,
    '',
  ].join('\n');
}

/** Width of the longest key with its quotes, colon and space. */
const KEY_WIDTH = 20;

/**
 * nfqlb's counters of its fragment table, in its order. No fragment is too long for this table, which has no buckets and puts
 * nothing together: mtu, those of buckets and reAssembled are 0.
 */
export function fragmentsText(reply: FragmentsReply): string {
  const counters = {
    hsize: reply.tableSize,
    ttlMillis: reply.timeoutMs,
    collisions: reply.collided,
    inserts: reply.tracked,
    rejected: reply.evicted,
    lookups: reply.later,
    objGC: reply.reused,
    mtu: 0,
    bucketsMax: 0,
    bucketsAllocated: 0,
    bucketsUsed: 0,
    fragsMax: reply.mostHeld,
    fragsAllocated: reply.held,
    fragsDiscarded: reply.discarded,
    reAssembled: 0,
  };
  const lines = Object.entries(counters).map(
    ([name, count]) => `  ${`"${name}":`.padEnd(KEY_WIDTH)}${count}`,
  );
  return `{\n${lines.join(',\n')}\n}\n`;
}
