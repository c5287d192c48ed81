/** The listings of `nfqlb flow-list` and `nfqlb show`, letter by letter. */
import type { FlowReply, StreamReply } from './api.js';

/** A JSON array of flows; conditions that are absent are left out. */
export function flowListText(flows: readonly FlowReply[]): string {
  return `[${flows.map(flowText).join(',\n')}]\n`;
}

export function flowText(flow: FlowReply): string {
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
    `  "user_ref": ${JSON.stringify(flow.userRef)}`,
  ];
  return `{\n${lines.join(',\n')}\n}`;
}

export function showText(stream: StreamReply): string {
  const active = stream.active.map(({ index, fwmark }) => ` ${fwmark}(${index})`).join('');
  return [
    `Shm: ${stream.name}`,
    '  Fw: own=0',
    `  Maglev: M=${stream.tableSize}, N=${stream.maxTargets}`,
    `   Lookup: ${stream.lookup.join(' ')}...`,
    `   Active:${active}`,
    '',
  ].join('\n');
}
