/** `magmark targets`, `flows`, `streams`, `gateways`: one table each, from the running daemon. */
import type { FlowReply, StatusReply, StreamReply } from '../control/api.js';
import { painted } from './color.js';
import { tableText } from './table.js';

export function targetsText({ targets }: StatusReply): string {
  return tableText(
    [
      { head: 'stream' },
      { head: 'target', align: 'right' },
      { head: 'mark', align: 'right' },
      { head: 'addresses' },
      { head: 'state' },
    ],
    targets.map(({ stream, identifier, fwmark, ips, pending, health }) => [
      stream,
      identifier,
      fwmark,
      ips.join(' '),
      pending === null
        ? painted('green', health === null ? 'active (no health check)' : `active, ${health}`)
        : painted('red', pending),
    ]),
  );
}

/** In the order in which they are tried. */
export function flowsText(flows: readonly FlowReply[]): string {
  const any = (values: readonly string[]) => (values.length === 0 ? 'any' : values.map(short).join(' '));
  return tableText(
    [
      { head: 'flow' },
      { head: 'priority', align: 'right' },
      { head: 'stream' },
      { head: 'protocols' },
      { head: 'destinations' },
      { head: 'ports' },
      { head: 'sources' },
      { head: 'source ports' },
      { head: 'bytes' },
      { head: 'matches', align: 'right' },
    ],
    flows.map(({ name, priority, userRef, protocols, dests, dports, srcs, sports, match, matchesCount }) => [
      name,
      priority,
      userRef ?? '',
      any(protocols),
      any(dests),
      any(dports),
      any(srcs),
      any(sports),
      match.join('; '),
      matchesCount,
    ]),
  );
}

/** nfqlb's spelling of IPv4 prefixes, shortened. */
function short(prefix: string): string {
  const groups = /^::ffff:(?<address>[0-9.]+)\/(?<length>[0-9]+)$/.exec(prefix)?.groups;
  return groups === undefined ? prefix : `${groups.address}/${Number(groups.length) - 96}`;
}

export function streamsText(streams: readonly StreamReply[]): string {
  return tableText(
    [
      { head: 'stream' },
      { head: 'slots', align: 'right' },
      { head: 'capacity', align: 'right' },
      { head: 'active', align: 'right' },
      { head: 'marks' },
    ],
    streams.map(({ name, tableSize, maxTargets, active }) => [
      name,
      tableSize,
      maxTargets,
      active.length,
      marksText(active.map(({ fwmark }) => fwmark)),
    ]),
  );
}

/** Numbers in a row as ranges: a thousand targets fit a line. */
function marksText(marks: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const mark of marks.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && mark === last[1] + 1) last[1] = mark;
    else ranges.push([mark, mark]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(' ');
}

export function gatewaysText({ gateways }: StatusReply): string {
  return tableText(
    [
      { head: 'gateway' },
      { head: 'protocol' },
      { head: 'address' },
      { head: 'state' },
      { head: 'BFD' },
      { head: 'since' },
      { head: 'reason' },
    ],
    gateways.flatMap(({ name, protocol, sessions }) =>
      sessions.map(({ address, up, bfd, since, info }) => [
        name,
        protocol,
        address,
        up ? painted('green', 'up') : painted('red', 'down'),
        bfd,
        since ?? '-',
        info,
      ]),
    ),
  );
}
