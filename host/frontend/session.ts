/** What BIRD's listings say of the gateways. */
import type { Family, Gateway } from '../types/config.js';
import { linesOf, type Reply } from './reply.js';
import { protocolName } from './wanted.js';

/** One address of a gateway. */
export interface SessionState {
  /** Name of the gateway. */
  readonly gateway: string;
  readonly address: string;
  readonly family: Family;
  readonly protocol: 'bgp' | 'static';
  /** Packets can go there: BGP is established, or the static route stands; and BFD, if it is wanted, is up. */
  readonly up: boolean;
  /** none: not wanted. */
  readonly bfd: 'up' | 'down' | 'none';
  /** Last change of `up` or `bfd`, ISO 8601 in UTC; null: BIRD has not run yet. */
  readonly since: string | null;
  /** Why: BIRD's words, for example `Established` or `Active  Socket: Connection refused`, or magmark's own. */
  readonly info: string;
}

/** Codes of lines in listings (nest/cli.c, doc/reply_codes). */
const PROTOCOL = 1002;
const PROTOCOL_DETAIL = 1006;
const BFD_SESSION = 1020;

const SINCE = '(?<since>\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d(?:\\.\\d+)?)';
const PROTOCOL_LINE = new RegExp(`^(?<name>\\S+) +\\S+ +\\S+ +(?<state>\\S+) +${SINCE} *(?<info>.*)$`);
const BFD_LINE = new RegExp(`^(?<address>\\S+) +\\S+ +(?<state>\\S+) +${SINCE}`);
const IMPORTED = /^ *Routes: +(?<count>\d+) imported/;

interface Protocol {
  readonly state: string;
  readonly since: string;
  readonly info: string;
  imported: number;
}

/** The gateways' sessions while BIRD does not run. */
export function sessionsWithout(gateways: readonly Gateway[], info: string): SessionState[] {
  return gateways.flatMap(gateway =>
    gateway.ips.map(host => ({
      ...identity(gateway, host),
      up: false,
      bfd: gateway.bfd === null ? ('none' as const) : ('down' as const),
      since: null,
      info,
    })),
  );
}

/**
 * @param protocols answer to `show protocols all`, with `timeformat protocol iso long ms`
 * @param bfd       answer to `show bfd sessions`; a refusal where no gateway has BFD
 */
export function readSessions(gateways: readonly Gateway[], protocols: Reply, bfd: Reply): SessionState[] {
  const listed = readProtocols(protocols);
  const monitored = readBfd(bfd);
  return gateways.flatMap(gateway =>
    gateway.ips.map(host => {
      const protocol = listed.get(protocolName(host.address));
      const path = gateway.bfd === null ? undefined : monitored.get(host.address);
      const reachable = gateway.bfd === null || path?.state === 'Up';
      const changes =
        gateway.protocol === 'static' ? [path?.since ?? protocol?.since] : [protocol?.since, path?.since];
      return {
        ...identity(gateway, host),
        up: reachable && protocol !== undefined && isServing(gateway, protocol),
        bfd: gateway.bfd === null ? 'none' : reachable ? 'up' : 'down',
        since: latest(changes),
        info: protocol === undefined ? 'BIRD does not list it' : infoOf(gateway, protocol),
      };
    }),
  );
}

/** Protocols that BIRD does not run any more: nothing here ever asks it to end one. */
export function stoppedProtocols(protocols: Reply): string[] {
  return [...readProtocols(protocols)].flatMap(([name, { state }]) => (state === 'down' ? [name] : []));
}

function identity(gateway: Gateway, { address, family }: Gateway['ips'][number]) {
  return { gateway: gateway.name, address, family, protocol: gateway.protocol };
}

function isServing({ protocol }: Gateway, listed: Protocol): boolean {
  return protocol === 'bgp' ? /^Established\b/.test(listed.info) : listed.imported > 0;
}

function infoOf({ protocol, bfd }: Gateway, listed: Protocol): string {
  if (protocol === 'bgp') return listed.info === '' ? listed.state : listed.info;
  if (listed.imported > 0) return 'Route stands';
  return bfd === null ? 'No route: its link is down' : 'No route: its link or BFD is down';
}

function readProtocols(reply: Reply): Map<string, Protocol> {
  const found = new Map<string, Protocol>();
  let last: Protocol | undefined;
  for (const { code, text } of reply) {
    if (code === PROTOCOL) {
      const groups = PROTOCOL_LINE.exec(text)?.groups;
      last = undefined;
      if (groups === undefined) continue;
      const info = groups.info!.trim().replace(/\s{2,}/g, '  ');
      last = { state: groups.state!, since: utc(groups.since!), info, imported: 0 };
      found.set(groups.name!, last);
    } else if (code === PROTOCOL_DETAIL && last !== undefined) {
      last.imported += Number(IMPORTED.exec(text)?.groups?.count ?? 0);
    }
  }
  return found;
}

function readBfd(reply: Reply): Map<string, { state: string; since: string }> {
  const found = new Map<string, { state: string; since: string }>();
  for (const text of linesOf(reply, BFD_SESSION)) {
    const groups = BFD_LINE.exec(text)?.groups;
    if (groups !== undefined) found.set(groups.address!, { state: groups.state!, since: utc(groups.since!) });
  }
  return found;
}

/** A session is up since both BGP and BFD are. */
function latest(times: readonly (string | undefined)[]): string | null {
  return (
    times
      .filter(time => time !== undefined)
      .toSorted()
      .at(-1) ?? null
  );
}

/** BIRD writes the time of the machine's zone. */
function utc(since: string): string {
  return new Date(since.replace(' ', 'T')).toISOString();
}
