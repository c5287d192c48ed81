/** Where the kernel sends a packet, asked of the kernel itself. */
import { listJson, type Run, run as runCommand } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { KernelError } from '../types/errors.js';
import type { FiveTuple } from '../types/five-tuple.js';
import { KERNEL_TABLES } from '../types/marks.js';
import { JSON_OPTIONS, LOCAL_ROUTES } from './listing.js';
import { type LocalRoute, parseLocalRoutes, takenText } from './local-route.js';

export interface Way {
  /** Where the route stands; null: nowhere. */
  readonly table: number | null;
  readonly via: string | null;
  readonly device: string | null;
  /** `02:fe:c2:14:ec:dd REACHABLE`, as the kernel lists it; null: it has no entry. */
  readonly neighbour: string | null;
  /** Why the packet reaches no target: `delivered to this host itself: 20.0.0.1 is an address of lo`; null: it is sent on. */
  readonly local: string | null;
  /** The kernel's words where it has no route. */
  readonly error: string | null;
}

interface RouteEntry {
  readonly type?: string;
  readonly gateway?: string;
  readonly dev?: string;
  /** Its number, absent of the table main. */
  readonly table?: string;
}

/** Of linux/rtnetlink.h. */
const TABLE_MAIN = 254;

/** The way of a packet to a VIP that bears `fwmark`. Its table is the mark's own but for marks of packets without a flow or a target. */
export async function lookupRoute(
  { family, destination }: FiveTuple,
  fwmark: number,
  run: Run = runCommand,
): Promise<Way> {
  const nowhere = { table: null, via: null, device: null, neighbour: null, local: null, error: null };
  const found = await localRoute(family, destination, run);
  const local = found === null ? null : takenText(found);
  try {
    const args = ['-N', '-j', `-${family}`, 'route', 'get', destination, 'mark', String(fwmark)];
    const [entry] = (await listJson(run, args)) as RouteEntry[];
    const { gateway = null, dev = null } = entry ?? {};
    const way = {
      ...nowhere,
      local: isTaken(entry) ? local : null,
      table: Number(entry?.table ?? TABLE_MAIN),
    };
    if (gateway === null || dev === null) return { ...way, via: gateway, device: dev };
    const neighbours = ['-j', `-${family}`, 'neigh', 'show', 'to', gateway, 'dev', dev];
    const [neighbour] = (await listJson(run, neighbours)) as { lladdr?: string; state?: string[] }[];
    const words = [neighbour?.lladdr, ...(neighbour?.state ?? [])].filter(Boolean).join(' ');
    return { ...way, via: gateway, device: dev, neighbour: words || null };
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { ...nowhere, local, error: error.message };
  }
}

/** The way of the answer: what a target sends to the client from the VIP, as it comes in by `device`. */
export async function lookupBack(
  { family, source, destination }: FiveTuple,
  device: string,
  run: Run = runCommand,
): Promise<Pick<Way, 'table' | 'via' | 'device' | 'error'>> {
  const args = ['-N', '-j', `-${family}`, 'route', 'get', source, 'from', destination, 'iif', device];
  try {
    const [entry] = (await listJson(run, args)) as RouteEntry[];
    const { gateway = null, dev = null } = entry ?? {};
    return { table: Number(entry?.table ?? TABLE_MAIN), via: gateway, device: dev, error: null };
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { table: null, via: null, device: null, error: error.message };
  }
}

/** By table local: its own packets bear no type, RTN_UNICAST of linux/rtnetlink.h. */
const isTaken = (entry: RouteEntry | undefined): boolean =>
  ![undefined, '1', 'unicast'].includes(entry?.type) || Number(entry?.table) === KERNEL_TABLES.last;

/** The narrowest route of table local that has the destination. */
async function localRoute(family: Family, destination: string, run: Run): Promise<LocalRoute | null> {
  const args = [...JSON_OPTIONS, `-${family}`, ...LOCAL_ROUTES.split(' '), 'match', destination];
  const routes = parseLocalRoutes(family, (await listJson(run, args)) as never[]);
  return routes.sort((a, b) => b.destination.length - a.destination.length)[0] ?? null;
}
