/** `magmark targets`, `flows`, `streams`, `gateways`: one table each, from the running daemon. */
import type { FlowReply, ShareReply, StatusReply, StreamReply } from '../control/api.js';
import { painted } from './color.js';
import { tableText } from './table.js';

const SHARE_COLUMNS = [
  { head: 'packets', align: 'right' },
  { head: 'of packets', align: 'right' },
  { head: 'of slots', align: 'right' },
] as const;

function shareCells({ packets, packetShare, slotShare }: ShareReply): (string | number)[] {
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
  return [packets, packetShare === null ? '-' : percent(packetShare), percent(slotShare)];
}

export function targetsText({ targets }: StatusReply): string {
  return tableText(
    [
      { head: 'stream' },
      { head: 'target', align: 'right' },
      { head: 'mark', align: 'right' },
      { head: 'addresses' },
      { head: 'state' },
      ...SHARE_COLUMNS,
    ],
    targets.map(({ stream, identifier, fwmark, ips, pending, health, ...share }) => [
      stream,
      identifier,
      fwmark,
      ips.join(' '),
      pending === null
        ? painted('green', health === null ? 'active (no health check)' : `active, ${health}`)
        : painted('red', pending),
      ...shareCells(share),
    ]),
  );
}

/** In the order in which they are tried. */
export function flowsText(flows: readonly FlowReply[]): string {
  const any = (values: readonly string[]) => (values.length === 0 ? 'any' : values.join(' '));
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
    flows.map(({ name, priority, stream, protocols, dests, dports, srcs, sports, match, matchesCount }) => [
      name,
      priority,
      stream,
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

export function streamsText(streams: readonly StreamReply[]): string {
  return tableText(
    [
      { head: 'stream' },
      { head: 'slots', align: 'right' },
      { head: 'capacity', align: 'right' },
      { head: 'active', align: 'right' },
      { head: 'marks' },
      { head: 'packets', align: 'right' },
      { head: 'of packets a target' },
      { head: 'of slots a target' },
    ],
    streams.map(({ name, tableSize, maxTargets, active, packets }) => [
      name,
      tableSize,
      maxTargets,
      active.length,
      marksText(active.map(({ fwmark }) => fwmark)),
      packets,
      rangeText(active.flatMap(({ packetShare }) => (packetShare === null ? [] : [packetShare]))),
      rangeText(active.map(({ slotShare }) => slotShare)),
    ]),
  );
}

/** The smallest and the largest part. */
function rangeText(parts: readonly number[]): string {
  if (parts.length === 0) return '-';
  const percent = (part: number) => (100 * part).toFixed(1);
  return `${percent(Math.min(...parts))} to ${percent(Math.max(...parts))} %`;
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
