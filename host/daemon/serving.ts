/** Who takes traffic, and which VIPs are announced for it. Pure. */
import { prefixText } from '../config/address.js';
import { askedHosts } from '../health/asked.js';
import type { CheckedTarget } from '../health/checker.js';
import type { TargetHealth } from '../health/verdict.js';
import type { PendingCause, PendingTarget } from '../kernel/wanted.js';
import { addressNumber, prefixInterval } from '../types/address.js';
import type { Config, Prefix, Stream, Target } from '../types/config.js';

/** `unknown`: its health check has not found it healthy yet. */
export type IdleCause = PendingCause | 'unknown' | 'unhealthy';
export const IDLE_CAUSES: readonly IdleCause[] = ['route', 'link', 'neighbour', 'unknown', 'unhealthy'];

/** A target that takes no traffic, and why. */
export interface IdleTarget {
  readonly fwmark: number;
  /** `stream-a-i/44` */
  readonly label: string;
  readonly cause: IdleCause;
  readonly reason: string;
}

/** For messages, and the name of its health check. */
export function targetLabel(stream: Stream, target: Target): string {
  return `${stream.name}/${target.identifier}`;
}

/** Equal for a target that is reached in the same way. */
export function wayKey({ fwmark, ips }: Target): string {
  return `${fwmark} ${ips.map(ip => addressNumber(ip.address)).join(' ')}`;
}

/**
 * Targets that cannot be reached, and those whose health check says so.
 * @param health  of a target by its label; null: it is not checked
 */
export function idleTargets(
  config: Config,
  pending: readonly PendingTarget[],
  health: (label: string) => TargetHealth | null,
): IdleTarget[] {
  const unreachable = new Set(pending.map(target => target.fwmark));
  const unhealthy = config.streams.flatMap(stream =>
    stream.targets.flatMap(target => {
      const label = targetLabel(stream, target);
      const state = health(label);
      if (state === null || state.health === 'healthy' || unreachable.has(target.fwmark)) return [];
      const reason = state.health === 'unknown' ? 'not found healthy yet' : 'unhealthy';
      const words = state.reason === null ? reason : `${reason}: ${state.reason}`;
      return [{ fwmark: target.fwmark, label, cause: state.health, reason: words }];
    }),
  );
  return [
    ...pending.map(({ fwmark, label, cause, reason }) => ({ fwmark, label, cause, reason })),
    ...unhealthy,
  ];
}

/** Equal where the same targets are idle. */
export function idleKey(idle: readonly IdleTarget[]): string {
  return idle.map(({ fwmark }) => fwmark).join();
}

/** VIPs with at least one target that serves them, judged by family: a VIP has one. */
export function announcedVips(config: Config, idle: ReadonlySet<number>): Prefix[] {
  const alive = new Set(
    config.streams
      .filter(stream => stream.targets.some(target => !idle.has(target.fwmark)))
      .map(stream => stream.name),
  );
  const served = config.flows.filter(flow => alive.has(flow.stream)).flatMap(flow => flow.vips);
  return config.vips.filter(vip => served.some(prefix => meet(vip, prefix)));
}

/** Those of `vips` that are among `others` too. */
export function commonVips(vips: readonly Prefix[], others: readonly Prefix[]): Prefix[] {
  const known = new Set(others.map(prefixText));
  return vips.filter(vip => known.has(prefixText(vip)));
}

/** Whether two prefixes share an address; IPv6 ones hold IPv4 only as the core maps it: `::/0` takes all of it. */
function meet(vip: Prefix, prefix: Prefix): boolean {
  const [one, other] = [mappedInterval(vip), mappedInterval(prefix)];
  return one.first <= other.last && other.first <= one.last;
}

const MAPPED = 0xffffn << 32n;

function mappedInterval(prefix: Prefix): { first: bigint; last: bigint } {
  const { first, last } = prefixInterval(prefix);
  return prefix.family === 4 ? { first: MAPPED + first, last: MAPPED + last } : { first, last };
}

/** What the health checks of a configuration ask. */
export function checkedTargets(config: Config): CheckedTarget[] {
  return config.streams.flatMap(stream => {
    const check = stream.healthCheck;
    if (check === null) return [];
    return stream.targets.map(target => ({
      key: targetLabel(stream, target),
      fwmark: target.fwmark,
      check,
      ips: target.ips,
      asked: askedHosts(config, stream, target),
    }));
  });
}
