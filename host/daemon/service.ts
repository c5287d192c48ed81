/**
 * Who serves: targets that can be reached and are healthy are in the image that the workers decide by, and the VIPs that
 * one of them serves are announced.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { prefixText } from '../config/address.js';
import type { ImageStore } from '../core/image.js';
import type { Frontend } from '../frontend/frontend.js';
import { linkLocalSessions, nextHopOf } from '../frontend/next-hop.js';
import { deriveRouterId, type InterfaceAddress } from '../frontend/router-id.js';
import { HealthChecker, type KnownHealth } from '../health/checker.js';
import type { AddOutcome } from '../kernel/kernel.js';
import type { LostVip } from '../kernel/local-route.js';
import type { PendingTarget } from '../kernel/wanted.js';
import type { Config, Prefix, Target } from '../types/config.js';
import type { Log } from './log.js';
import { hostAddresses } from './namespace.js';
import {
  announcedVips,
  checkedTargets,
  commonVips,
  type IdleTarget,
  idleKey,
  idleTargets,
  wayKey,
} from './serving.js';
import { StaticGateways } from './static-gateways.js';
import type { Warnings } from './warnings.js';

export interface ServiceOptions {
  readonly log: Log;
  readonly images: ImageStore;
  readonly frontend: Frontend;
  readonly warnings: Pick<Warnings, 'find'>;
  /** Of this host when it started: a router id that followed them would end the gateways' sessions. */
  readonly addresses: readonly InterfaceAddress[];
  /** The health of a target has changed: `review` is wanted. */
  readonly onHealth: () => void;
  /** Of the daemon that this one takes over from. */
  readonly known?: KnownService;
}

/** What a daemon knows of its targets by experience, and who takes over from it could not know. */
export interface KnownService {
  /** Ways of the targets that take traffic; see `wayKey`. */
  readonly serving: readonly string[];
  readonly health: readonly KnownHealth[];
}

export class Service {
  readonly health: HealthChecker;
  /** Targets that take no traffic, and why. */
  idle: readonly IdleTarget[] = [];
  /** VIPs that the gateways were told of. */
  announced: readonly Prefix[] = [];
  /** VIPs whose packets reach no target, by the last look at the kernel: none is announced that is lost as a whole. */
  lost: readonly LostVip[] = [];
  /** Ways of the targets that take traffic. */
  private serving: ReadonlySet<string>;
  /** The daemon stops: no VIP is announced any more. */
  private withdrawn = false;
  private pending: readonly PendingTarget[] = [];
  private readonly gateways = new StaticGateways();
  /** Why gateways cannot be reached, by address. */
  private unreachable: ReadonlyMap<string, string> = new Map();
  private nextHop6: string | null = null;

  constructor(private readonly options: ServiceOptions) {
    const { log, onHealth, known } = options;
    this.health = new HealthChecker({ log, onChange: onHealth, ...(known && { known: known.health }) });
    this.serving = new Set(known?.serving);
  }

  /** See `ServiceOptions`. */
  get addresses(): readonly InterfaceAddress[] {
    return this.options.addresses;
  }

  known(): KnownService {
    return { serving: [...this.serving], health: this.health.known() };
  }

  /** Marks of the targets of `config` that take traffic now, by the same way. */
  servingMarks(config: Config): Set<number> {
    const serving = targetsOf(config).filter(target => this.serving.has(wayKey(target)));
    return new Set(serving.map(target => target.fwmark));
  }

  /** Before anything is changed for `config`. @throws ImageError if it is known not to fit the core's memory */
  async refuseTooLarge(config: Config): Promise<void> {
    const { images } = this.options;
    await images.retire();
    images.refuseTooLarge(config);
  }

  /**
   * Have the workers decide by `config` and by who can be reached. `images.retire` follows.
   * @param signal aborted: the change was given up, and nothing is published
   */
  async publish(config: Config, pending: readonly PendingTarget[], signal?: AbortSignal): Promise<void> {
    this.health.set(checkedTargets(config));
    const idle = this.idleBy(config, pending);
    const marks = new Set(idle.map(target => target.fwmark));
    const { images, warnings } = this.options;
    // A change that failed may have left a former image behind.
    await images.retire();
    // Another change may have published by now.
    signal?.throwIfAborted();
    const image = images.publish(config, (_stream, target) => !marks.has(target.fwmark));
    warnings.find({ image: image.warnings });
    this.tell(config, idle);
    this.pending = pending;
    const active = targetsOf(config).filter(target => !marks.has(target.fwmark));
    this.serving = new Set(active.map(wayKey));
  }

  /** Decide by who can be reached and is healthy now; the configuration stays. `announceServed` follows. */
  async review(pending: readonly PendingTarget[] = this.pending, signal?: AbortSignal): Promise<void> {
    const { images } = this.options;
    const { config } = images.current!;
    const idle = this.idleBy(config, pending);
    if (idleKey(idle) === idleKey(this.idle)) {
      this.tell(config, idle);
      this.pending = pending;
    } else {
      await this.publish(config, pending, signal);
      await images.retire();
    }
  }

  /** Announce the VIPs that are served now, and no others. */
  announceServed(): Promise<void> {
    return this.tellVips(this.servedVips(this.options.images.current!.config));
  }

  /** Withdraw the VIPs that nobody serves any more, whatever waits for its turn; nothing is announced, no image changes. */
  async withdrawUnserved(): Promise<void> {
    const { config } = this.options.images.current!;
    const marks = new Set(this.idleBy(config, this.pending).map(({ fwmark }) => fwmark));
    const served = commonVips(this.announced, this.reachedVips(announcedVips(config, marks)));
    if (served.length < this.announced.length) await this.tellVips(served);
  }

  /** Judge the gateways of `config` by what the kernel lists. `announce` or `reviewGateways` follows. */
  async judgeGateways(config: Config, found: Pick<AddOutcome, 'gateways' | 'missing'>): Promise<void> {
    this.gateways.judge(found.gateways);
    this.unreachable = this.gateways.reasons(config, found.missing);
    const { gateways, interfaces } = config;
    this.nextHop6 =
      linkLocalSessions(gateways).length === 0
        ? null
        : nextHopOf(await hostAddresses(), interfaces.external, this.nextHop6);
  }

  /** Have BIRD use the gateways that can be reached, and no others. */
  reviewGateways(): Promise<void> {
    const { unreachable, nextHop6 } = this;
    return this.options.frontend.setReach({ unreachable, nextHop6 });
  }

  /** Have the gateways of the configuration, and announce to them what is served now. */
  async announce(): Promise<void> {
    const { config } = this.options.images.current!;
    const { gateways, ecmp } = config;
    const { external } = config.interfaces;
    const routerId = config.routerId ?? deriveRouterId(this.options.addresses, external);
    const announced = this.servedVips(config);
    const { unreachable, nextHop6 } = this;
    await this.options.frontend.set({ routerId, external, gateways, ecmp, announced, unreachable, nextHop6 });
    this.announced = announced;
  }

  /** Withdraw the VIPs that `next` does not have: what comes to them will not be steered any more. */
  withdrawMissing(next: Config): Promise<void> {
    return this.tellVips(commonVips(this.announced, next.vips));
  }

  /** Withdraw all VIPs, and give gateways the configured time to send elsewhere; `hurry` cuts it short. */
  async withdraw(hurry: AbortSignal): Promise<void> {
    this.withdrawn = true;
    const { gateways, shutdownDelayMs } = this.options.images.current!.config;
    if (gateways.length === 0) return;
    await this.tellVips([]);
    await delay(shutdownDelayMs, null, { signal: hurry }).catch(() => null);
  }

  /** Nothing but the VIPs changes. */
  private async tellVips(announced: Prefix[]): Promise<void> {
    await this.options.frontend.announce(announced);
    this.announced = announced;
  }

  private servedVips(config: Config): Prefix[] {
    if (this.withdrawn) return [];
    return this.reachedVips(announcedVips(config, new Set(this.idle.map(({ fwmark }) => fwmark))));
  }

  /** Those of `vips` whose packets the kernel does not deliver elsewhere. */
  private reachedVips(vips: readonly Prefix[]): Prefix[] {
    const lost = new Set(this.lost.filter(({ whole }) => whole).map(({ vip }) => prefixText(vip)));
    return vips.filter(vip => !lost.has(prefixText(vip)));
  }

  private idleBy(config: Config, pending: readonly PendingTarget[]): IdleTarget[] {
    return idleTargets(config, pending, label => this.health.state(label));
  }

  private tell(config: Config, idle: readonly IdleTarget[]): void {
    const { log } = this.options;
    const before = new Map(this.idle.map(target => [target.label, target]));
    for (const { label, reason } of idle) {
      if (before.get(label)?.reason !== reason)
        log.warn({ target: label, reason }, 'target is pending: it takes no traffic');
      before.delete(label);
    }
    const present = new Set(targetsOf(config).map(target => target.fwmark));
    for (const { label, fwmark } of before.values())
      if (present.has(fwmark)) log.info({ target: label }, 'target is no longer pending');
    this.idle = idle;
  }
}

function targetsOf(config: Config): Target[] {
  return config.streams.flatMap(stream => stream.targets);
}
