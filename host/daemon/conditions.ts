/** Whether the daemon is alive, and whether packets can be sent to it. Pure. */
import { type Condition, type Judgement, judgementOf } from '../types/health.js';

export interface Facts {
  readonly queues: readonly { readonly queue: number; readonly bound: boolean; readonly unboundMs: number }[];
  /** Why the last look at the kernel failed; null: it found all as it is wanted, or repaired it. */
  readonly kernelFault: string | null;
  /** Things that differ still after their repair. */
  readonly vainRepairs?: readonly string[];
  readonly targets: { readonly all: number; readonly active: number };
  /** null: none are configured. */
  readonly gateways: {
    readonly birdUp: boolean;
    /** Addresses of gateways by BGP, which VIPs are announced to. */
    readonly sessions: number;
    readonly sessionsUp: number;
    /** Addresses of static gateways. */
    readonly fixed: number;
    readonly fixedUp: number;
    /** VIPs that are announced. */
    readonly announced: number;
  } | null;
  /** VIPs, and why packets to some of them reach no target. */
  readonly vips: { readonly all: number; readonly lost: readonly { vip: string; reason: string }[] };
  /** Warnings about packets that are dropped or lost on their way through this host. */
  readonly passage: readonly string[];
  /** Rules of other programs that can touch packets to VIPs, one line each. */
  readonly foreign?: readonly string[];
  /** Programs that have run for longer than 10 s: `nft has not ended for 12 s`. */
  readonly hanging: readonly string[];
  readonly stopping: boolean;
}

/** A worker that died is back after a second at most, unless it cannot be bound again: far beyond that and a slow start. */
const DEAD_MS = 10_000;

/** Things that a detail names. */
const SHOWN = 3;

/** Alive: the one who asks was answered, and every worker serves or is about to. */
export function judgeAlive({ queues }: Pick<Facts, 'queues'>): Judgement {
  const dead = queues.filter(({ unboundMs }) => unboundMs > DEAD_MS);
  const detail =
    dead.length === 0
      ? 'each worker serves, or is being restarted'
      : `for more than ${DEAD_MS / 1000} s no worker has served queue ${dead.map(({ queue }) => queue).join(', ')}`;
  return judgementOf([{ name: 'workers', ok: dead.length === 0, detail }]);
}

/** Ready: a packet that comes now gets to a target, and gateways send some. */
export function judgeReady(facts: Facts): Judgement {
  const { queues, kernelFault, hanging, targets, gateways, vips, passage, stopping } = facts;
  // A setting that others keep otherwise is a warning alone.
  const vain = (facts.vainRepairs ?? []).filter(what => !what.startsWith('sysctl '));
  const bound = queues.filter(queue => queue.bound).length;
  return judgementOf([
    ...(stopping ? [{ name: 'running', ok: false, detail: 'magmark is stopping' }] : []),
    {
      name: 'workers',
      ok: bound === queues.length,
      detail: `${bound} of ${counted(queues.length, 'queue', 'queues')} ${bound === 1 ? 'is' : 'are'} bound`,
    },
    {
      name: 'ruleset',
      ok: kernelFault === null && hanging.length === 0 && vain.length === 0,
      detail:
        hanging.length > 0
          ? `${hanging.join(', ')}: rules, routes and tables cannot be compared`
          : kernelFault !== null
            ? `rules, routes or tables could not be compared or repaired: ${kernelFault}`
            : vain.length > 0
              ? `the repair of ${vain.slice(0, SHOWN).join(', ')} does not help: see the warnings of magmark status`
              : 'rules, routes and tables are applied',
    },
    {
      name: 'targets',
      ok: targets.active > 0,
      detail: `${targets.active} of ${counted(targets.all, 'target', 'targets')} ${targets.active === 1 ? 'takes' : 'take'} traffic`,
    },
    ...(vips.lost.length === 0 ? [] : [lost(vips)]),
    ...(gateways === null ? [] : [announced(gateways)]),
    // No reason to send packets elsewhere: a few may be lost.
    ...(facts.foreign ?? []).slice(0, SHOWN).map(detail => ({ name: 'foreign rules', ok: true, detail })),
    ...passage.map(detail => ({ name: 'packets', ok: true, detail })),
  ]);
}

/** Packets to the other VIPs still reach a target. */
function lost({ all, lost }: Facts['vips']): Condition {
  const reasons = lost.map(({ vip, reason }) => `${vip}: ${reason}`).join('; ');
  return {
    name: 'vips',
    ok: lost.length < all,
    detail: `${lost.length} of ${all} VIPs receive no traffic (${reasons})`,
  };
}

/** VIPs are announced to gateways by BGP alone: where all are static, one that can be reached suffices. */
function announced(gateways: NonNullable<Facts['gateways']>): Condition {
  const { birdUp, sessions, sessionsUp, fixed, fixedUp, announced: vips } = gateways;
  const name = 'announced';
  if (!birdUp) return { name, ok: false, detail: 'BIRD does not run' };
  if (sessions === 0) {
    const what = `${counted(fixed, 'address', 'addresses')} of static gateways, ${fixedUp} reachable`;
    return { name, ok: fixedUp > 0, detail: `no gateway needs announcements: ${what}` };
  }
  const parts = [
    `${counted(vips, 'VIP is', 'VIPs are')} announced`,
    `${sessionsUp} of ${counted(sessions, 'session', 'sessions')} with gateways ${sessionsUp === 1 ? 'is' : 'are'} up`,
    ...(fixed === 0
      ? []
      : [`${fixedUp} of ${counted(fixed, 'address', 'addresses')} of static gateways reachable`]),
  ];
  return { name, ok: sessionsUp > 0 && vips > 0, detail: parts.join(', ') };
}

function counted(count: number, one: string, several: string): string {
  return `${count} ${count === 1 ? one : several}`;
}
