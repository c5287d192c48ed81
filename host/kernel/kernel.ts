/**
 * The door of this room: the kernel's state of one configuration, in four steps that each compare what is wanted with
 * what the kernel lists. Start, reload, going back and repair after SIGKILL are therefore one path.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { type Run, run as runCommand } from '../programs/command.js';
import type { Family, Host, Prefix } from '../types/config.js';
import type { Difference } from '../types/difference.js';
import { ClashError, KernelError } from '../types/errors.js';
import { runBatch } from './batch.js';
import { type Carrier, probeCarrier } from './carrier.js';
import { type Claims, claimWords, type TableClaim, tableKey, unitedClaims } from './claims.js';
import { clashes, foreignRoutes, foreignRouteText } from './clash.js';
import { routingDifferences } from './difference.js';
import { type ForeignReport, ForeignRules } from './foreign/list.js';
import { type GatewayReach, gatewayReach } from './gateway-reach.js';
import { type GuardReading, readGuard } from './guard.js';
import { lastMarkPriority, rulesInFront } from './in-front.js';
import { listInterfaces, missingInterfaces } from './interfaces.js';
import { Journal, type NamespaceIdentity } from './journal.js';
import { familiesWithoutMain, missingKernelRules } from './kernel-rules.js';
import { type LostVip, lostVips } from './local-route.js';
import {
  askForNeighbours,
  flushNeighbours,
  listNeighbours,
  type Neighbours,
  neighbourKey,
  probeNeighbours,
} from './neighbour.js';
import { isOwn, listInterfaceNetworks, nextHopFault } from './next-hop.js';
import { OnLink } from './on-link.js';
import { type Reached, reachOf } from './reach.js';
import { ALL_REPAIRS, NO_REPAIRS, type RepairGate } from './repairs.js';
import type { ListedRoute, NarrowRoute } from './route.js';
import {
  additions,
  claimsOf,
  NO_ROUTING,
  neighbourChanges,
  type RoutingListing,
  removals,
  type WantedRouting,
  wantedRouting,
} from './routing.js';
import { applyChanges, applyRemovals, listRouting, throwAny } from './routing-apply.js';
import { type Rule, ruleKey } from './rule.js';
import { type RulesetOptions, Steering } from './steering.js';
import { applySysctls, type Ipv6State, ipv6State } from './sysctl.js';
import { together } from './together.js';
import { listTrackingRules, trackingWarnings } from './tracking.js';
import { type NextHop, type PendingTarget, queueMarkOf, type WantedKernel } from './wanted.js';

/** The part of the logger that is used. */
export interface KernelLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface KernelOptions {
  /** File in the daemon's run directory, which exists. */
  readonly journalPath: string;
  readonly identity: NamespaceIdentity;
  readonly log: KernelLog;
  readonly run?: Run;
  /** Another daemon's rules stand and packets wait in its queues: none of them is to be lost. Default false. */
  readonly takesOver?: boolean;
}

export interface AddOptions {
  /** Marks of targets that take traffic now, with the next hops that are wanted. */
  readonly serving?: ReadonlySet<number>;
  /** How long, in ms, new neighbours may take to answer before their targets are told as pending; default 0. */
  readonly patienceMs?: number;
  /** What stands by another hand where our numbers are is a warning, and left as it is: others came after us. */
  readonly clashesAreWarnings?: boolean;
  /** Tables of targets where others may have changed something: all their routes are looked at. Those of new ones are. */
  readonly inspect?: readonly number[];
  /** A listing from `listAhead`; of tables that are new, other routes than the default one are left to the next look. */
  readonly ahead?: Ahead | undefined;
  /** Asked for each thing that differs; default: all is repaired. */
  readonly gate?: RepairGate;
  /** Called after each part of the work, with its name: for a breakdown of its time. */
  readonly lap?: (part: string) => void;
}

/** A listing that is under way while the configuration is being read. */
export interface Ahead {
  readonly ipv6: Ipv6State;
  readonly listed: ReturnType<typeof listRouting>;
}

export interface AddOutcome {
  /** Targets that cannot be reached; each once. */
  readonly pending: PendingTarget[];
  /** IPv6 that is not served, settings and neighbour entries that are not as wanted, clashes; one line each. */
  readonly warnings: string[];
  /** Settings that were set, and what was missing and was added, as lines of ip. */
  readonly changes: string[];
  /** Next hops of targets that can be reached. */
  readonly hops: NextHop[];
  /** Gateways that are watched by their neighbour entries. */
  readonly gateways: readonly GatewayReach[];
  /** Interfaces that the configuration names and that are not there; one line each. */
  readonly missing: readonly string[];
  /** Neighbours whose entries were removed, to be made anew. */
  readonly forgotten: readonly Host[];
  /** VIPs whose packets the kernel delivers elsewhere before it asks our rules. */
  readonly lost: readonly LostVip[];
}

const NOBODY: ReadonlyMap<number, readonly string[]> = new Map();

/** Between two looks at neighbours that were asked for; each look takes about 5 ms itself. */
const LOOK_AGAIN_MS = 10;

export class Kernel {
  private last: Promise<unknown> = Promise.resolve();
  /** What the last `add` listed has something of ours that is not wanted, or nothing was listed yet. */
  private maybeStale = true;
  /** Families whose rule that leads to main is missing, by the last `add`. */
  private withoutMain: readonly Family[] = [];
  private readonly foreign: ForeignRules;
  /** As they were found when their table was last inspected, by its number. */
  private readonly narrow = new Map<number, readonly NarrowRoute[]>();
  private constructor(
    private readonly options: KernelOptions,
    private readonly steering: Steering,
    /** As of the last `add`: what follows it is for the same families. */
    private ipv6: Ipv6State,
    private journal: Journal,
    private readonly run: Run,
  ) {
    this.foreign = new ForeignRules(run);
  }

  /**
   * Probe the kernel and read the journal. Changes nothing in the kernel.
   * @throws ClashError if a table of our name stands that the journal does not claim; EnvironmentError if the kernel
   *   cannot queue, a program is missing, or the journal cannot be understood
   */
  static async open(options: KernelOptions): Promise<Kernel> {
    const { log, run = runCommand, takesOver = false } = options;
    const carrier = await probeCarrier(run);
    const steering = new Steering(run, carrier, takesOver);
    const journal = await openJournal(options);
    await steering.refuseForeign(journal.claims);
    log.info({ carrier: carrier.name }, `packets are steered into the queues by ${carrier.name}`);
    return new Kernel(options, steering, await ipv6State(), journal, run);
  }

  /** Read the journal again: another daemon has written into it. @throws EnvironmentError */
  reopen(): Promise<void> {
    return this.inTurn(async () => {
      this.steering.forget();
      this.journal = await openJournal(this.options);
    });
  }

  /** What the journal claims, for people; empty: nothing. */
  claimed(): string[] {
    return claimWords(this.journal.claims);
  }

  get carrier(): Carrier['name'] {
    return this.steering.carrier.name;
  }

  /** The ruleset that was applied last, as text that `nft -f` loads. */
  get rulesetText(): string {
    return this.steering.text;
  }

  /** One line for each part of the ruleset that nft refused and traffic can do without. */
  get rulesetWarnings(): string[] {
    return this.steering.warnings;
  }

  /** Families that are served. */
  private get families(): Family[] {
    return this.ipv6 === 'enabled' ? [4, 6] : [4];
  }

  /**
   * Settings, then rules and routes that are new or changed; nothing is removed. A target whose route the kernel refuses,
   * whose link is down or whose neighbour does not answer is pending. IPv6 that is absent or disabled is a warning, and
   * nothing is wanted for it until a later `add` finds it enabled.
   * @throws ClashError, with nothing changed, if what is not ours stands where our numbers are; KernelError
   */
  add(wanted: WantedKernel, options: AddOptions = {}): Promise<AddOutcome> {
    return this.inTurn(async () => {
      const { serving = new Set(), patienceMs = 0, gate = ALL_REPAIRS, lap = () => {} } = options;
      this.ipv6 = await ipv6State();
      const ahead = options.ahead?.ipv6 === this.ipv6 ? options.ahead : undefined;
      const before = this.journal.claims;
      const claimed = new Set(before.routes.map(({ table }) => table));
      const marks = wanted.targets.map(({ fwmark }) => fwmark);
      const inspected = new Set([...(options.inspect ?? []), ...marks.filter(mark => !claimed.has(mark))]);
      const { listing, neighbours: listed, local } = await (ahead?.listed ?? this.list([...inspected]));
      lap('listed');
      const routing = wantedRouting(wanted, listing, before);
      const clashing = clashes(routing, listing, before, wanted.markMask);
      if (clashing.length > 0 && options.clashesAreWarnings !== true) {
        throw new ClashError(clashing.join('\n'));
      }
      const foreign = foreignRoutes(routing, listing, before);
      const written = this.journal.write(unitedClaims(before, claimsOf(routing, listing, before)));
      // While the disk is being waited for; what fails here is told after that.
      written.catch(() => undefined);
      const added = additions(routing, listing, foreign).filter(change => gate.allows(changeText(change)));
      const { changes, asked, forgotten } = neighbourChanges(
        routing,
        listing,
        before,
        listed,
        patienceMs > 0,
      );
      await written;
      lap('journal');
      await this.steering.admit(wanted, before);
      const [settings, outcome] = await together([
        applySysctls(this.ipv6, undefined, gate),
        added.length + changes.length === 0
          ? { refused: NOBODY, warnings: [], routes: listing.routes, neighbours: listed }
          : applyChanges(this.run, this.present, [...added, ...changes], { ...listing, neighbours: listed }),
      ]);
      lap('rules and routes');
      const inFront = rulesInFront(wanted, routing, listing, before);
      const lost = lostVips(wanted.vips, local, listing.rules, lastMarkPriority(routing));
      this.withoutMain = familiesWithoutMain(listing.rules);
      const missing = missingKernelRules(listing.rules);
      const warnings = [...missing, ...clashing, ...inFront, ...settings.warnings, ...outcome.warnings];
      const refused = unitedReasons(outcome.refused, foreign);
      this.maybeStale = isMoreThan(this.journal.claims, routing, listing);
      const { families } = this;
      const reachBy = (neighbours: Neighbours): Reached =>
        reachOf(wanted.targets, { families, routes: outcome.routes, neighbours, refused, serving });
      const first = reachBy(outcome.neighbours);
      lap('reach');
      const { pending, hops } = await this.settle(first, reachBy, asked, patienceMs);
      lap('neighbours');
      const present = await listInterfaces();
      const onLink = new OnLink(listing.links);
      const gateways = await this.settleGateways(
        neighbours =>
          gatewayReach(wanted, onLink, present, neighbours).filter(({ family }) => families.includes(family)),
        listed,
        patienceMs,
      );
      lap('gateways');
      const made = added.filter(({ of }) => of.kind !== 'route' || !outcome.refused.has(of.route.table));
      const changed = made.map(changeText);
      for (const what of changed) gate.repaired(what);
      return {
        pending,
        hops,
        warnings,
        gateways,
        missing: missingInterfaces(wanted.interfaces, present),
        forgotten,
        lost,
        changes: [...settings.changes, ...changed],
      };
    });
  }

  /** List what `add` compares with, side by side with other work; for one that follows at once. */
  listAhead(): Ahead {
    const listed = this.list();
    // Whoever awaits it is told, unless the change is refused before.
    listed.catch(() => undefined);
    return { ipv6: this.ipv6, listed };
  }

  /** Have the kernel ask for neighbours. @returns one line for each refusal */
  ask(hops: readonly NextHop[]): Promise<string[]> {
    return this.inTurn(() => askForNeighbours(this.run, hops));
  }

  /** As `ask`, but what the kernel holds of them is forgotten first. */
  askAnew(hops: readonly NextHop[]): Promise<string[]> {
    return this.inTurn(async () => {
      const listed = await listNeighbours(this.run, this.present);
      return [
        ...(await flushNeighbours(this.run, hops, listed)),
        ...(await askForNeighbours(this.run, hops)),
      ];
    });
  }

  /** See `probeNeighbours`. */
  probe(hops: readonly NextHop[], before: readonly NextHop[]): Promise<NextHop[]> {
    return this.inTurn(() => probeNeighbours(this.run, hops, before));
  }

  /** @returns one line for each VIP towards which the kernel makes no errors, since main does not lead to it */
  vipsWithoutRoute(vips: readonly Prefix[]): Promise<string[]> {
    return this.inTurn(async () => {
      const lines = await Promise.all(
        // Where main cannot be found at all, `add` warns of that.
        this.families
          .filter(family => !this.withoutMain.includes(family))
          .map(async family => {
            const addresses = vips.filter(vip => vip.family === family).map(vip => vip.address);
            const questions = addresses.map(address => `route get ${address}`);
            const failures = await runBatch(this.run, family, questions);
            return [...failures.keys()].map(
              index =>
                `main has no route to VIP ${addresses[index]}: the kernel makes no ICMP error for it, so a target does not learn ` +
                `that its answers are too big. Add one, for example: ip -${family} route add default via GATEWAY`,
            );
          }),
      );
      return lines.flat();
    });
  }

  /**
   * Rules of other programs that can take, change or drop packets to VIPs. It waits for no change, and holds up none.
   */
  reviewForeign(wanted: WantedKernel): Promise<ForeignReport> {
    const { carrier } = this.steering;
    const mark = carrier.queueMatch(queueMarkOf(wanted));
    return this.foreign.review(wanted, { priority: carrier.chainPriority, mark });
  }

  /** @returns one line for each place where another hand tracks connections although `wanted` tracks fragments */
  tracking(wanted: WantedKernel): Promise<string[]> {
    return this.inTurn(async () =>
      wanted.fragments === 'track' ? trackingWarnings(await listTrackingRules(this.run)) : [],
    );
  }

  /**
   * The nftables tables, in one transaction, behind the rules that queue.
   * @returns names of the tables that were changed
   * @throws ClashError, with nothing changed, if a table of our name stands that is not ours; KernelError
   */
  applyRuleset(wanted: WantedKernel, options: RulesetOptions = {}): Promise<string[]> {
    return this.inTurn(() => this.steering.apply(wanted, this.families, this.journal, options));
  }

  /** What the guard has counted, and how often the tables were changed; null: the guard does not exist. */
  readGuard(): Promise<GuardReading | null> {
    return this.inTurn(async () => {
      const counts = await readGuard(this.run);
      return counts === null ? null : { ...counts, changes: this.steering.changes };
    });
  }

  /**
   * What `add`, `applyRuleset` and `removeStale` would do for `wanted`, without doing it.
   * @throws KernelError
   */
  compare(wanted: WantedKernel): Promise<Difference[]> {
    return this.inTurn(async () => {
      const { claims } = this.journal;
      const ipv6 = await ipv6State();
      const { listing } = await this.list(wanted.targets.map(({ fwmark }) => fwmark));
      const routing = wantedRouting(wanted, listing, claims);
      const foreign = foreignRoutes(routing, listing, claims);
      const united = unitedClaims(claims, claimsOf(routing, listing, claims));
      const settings = await applySysctls(ipv6, undefined, NO_REPAIRS);
      const [steering, foreignRules] = await Promise.all([
        this.steering.compare(wanted, this.families, claims),
        this.reviewForeign(wanted),
      ]);
      return [
        ...settings.changes.map(what => ({ kind: 'changed' as const, what })),
        ...routingDifferences(
          additions(routing, listing, foreign),
          removals(routing, listing, united),
          new Set(listing.routes.map(tableKey)),
        ),
        ...steering,
        ...[
          ...clashes(routing, listing, claims, wanted.markMask),
          ...rulesInFront(wanted, routing, listing, claims),
          ...foreignRules.warnings,
        ].map(what => ({ kind: 'foreign' as const, what })),
      ];
    });
  }

  /** Targets of `wanted` that would receive no traffic, since no interface leads to them. Changes nothing. @throws KernelError */
  predictInactive(wanted: WantedKernel): Promise<Difference[]> {
    return this.inTurn(async () => {
      const { listing } = await this.list();
      const onLink = new OnLink(listing.links);
      const networks = await listInterfaceNetworks(this.run);
      return wanted.targets.flatMap(({ label, nextHops }) =>
        nextHops
          .filter(hop => this.families.includes(hop.family))
          .flatMap((hop): Difference[] => {
            // Routes to its network may exist without an address in it, but not to an address of this host.
            const isRouted = onLink.deviceOf(hop) !== null && !isOwn(hop, networks);
            const fault = isRouted ? null : nextHopFault(hop, networks);
            return fault === null ? [] : [{ kind: 'inactive', what: `target ${label}: ${fault}` }];
          }),
      );
    });
  }

  /**
   * Rules, routes and marks of ours that are not wanted, also those that a crashed run left. Follows `add`, when no worker
   * gives the former marks.
   * @returns how many rules and routes went
   * @throws KernelError
   */
  removeStale(wanted: WantedKernel, gate: RepairGate = ALL_REPAIRS): Promise<number> {
    return this.inTurn(async () => {
      await this.steering.settle(wanted);
      // What `add` listed had nothing to go: another look would find the same.
      if (!this.maybeStale) return 0;
      const { listing } = await this.list();
      return this.removeRouting(wantedRouting(wanted, listing, this.journal.claims), listing, gate);
    });
  }

  /** The ruleset alone: from now on no packet is steered. @throws KernelError */
  removeRuleset(): Promise<void> {
    return this.inTurn(() => this.steering.remove(this.journal));
  }

  /**
   * Everything of ours: the ruleset first, so that no packet is marked any more, then rules and routes. What cannot be
   * removed stays claimed.
   * @throws KernelError naming all that could not be removed; EnvironmentError if that is the journal alone
   */
  removeAll(): Promise<void> {
    return this.inTurn(async () => {
      const errors: Error[] = [];
      const attempt = async (step: () => Promise<void>): Promise<void> => {
        try {
          await step();
        } catch (error) {
          errors.push(error as Error);
        }
      };
      await attempt(() => this.steering.remove(this.journal));
      await attempt(async () => {
        await this.removeRouting(NO_ROUTING, (await this.list()).listing);
      });
      if (errors.length === 1) {
        throw errors[0];
      }
      if (errors.length > 0) {
        const text = errors.map(error => error.message).join('; ');
        throw new KernelError(text, { cause: errors[0] });
      }
    });
  }

  /** Families that the kernel has: IPv6 too where it is disabled, since its rules stand on and are then ours to remove. */
  private get present(): Family[] {
    return this.ipv6 === 'absent' ? [4] : [4, 6];
  }

  /** @param inspected tables of targets whose other routes are listed anew; of others they are what they were */
  private async list(inspected: readonly number[] = []): ReturnType<typeof listRouting> {
    const { listing, neighbours, local } = await listRouting(
      this.run,
      this.present,
      this.families,
      inspected,
    );
    for (const table of inspected) this.narrow.delete(table);
    for (const route of listing.narrow) {
      this.narrow.set(route.table, [...(this.narrow.get(route.table) ?? []), route]);
    }
    return { listing: { ...listing, narrow: [...this.narrow.values()].flat() }, neighbours, local };
  }

  /** Ask for neighbours, save those that were, and look until all have answered or failed, for `patienceMs` at most. */
  private async settle(
    first: Reached,
    reachBy: (neighbours: Neighbours) => Reached,
    asked: readonly NextHop[],
    patienceMs: number,
  ): Promise<Reached> {
    const unresolved = ({ pending }: Reached) => pending.flatMap(target => target.unresolved);
    if (patienceMs === 0 || unresolved(first).length === 0) return first;
    const known = new Set(asked.map(neighbourKey));
    await askForNeighbours(
      this.run,
      unresolved(first).filter(hop => !known.has(neighbourKey(hop))),
    );
    let latest = first;
    for (const end = performance.now() + patienceMs; performance.now() < end; ) {
      latest = reachBy(await listNeighbours(this.run, this.present));
      if (unresolved(latest).length === 0) break;
      await delay(LOOK_AGAIN_MS);
    }
    return latest;
  }

  /** Ask for gateways that the kernel has no entry of, and look until each has one, for `patienceMs` at most. */
  private async settleGateways(
    reachBy: (neighbours: Neighbours) => GatewayReach[],
    listed: Neighbours,
    patienceMs: number,
  ): Promise<GatewayReach[]> {
    let latest = reachBy(listed);
    const absent = latest.filter(({ state }) => state === 'absent');
    if (absent.length === 0) return latest;
    try {
      await askForNeighbours(this.run, absent);
    } catch (error) {
      // A gateway that the kernel cannot ask is down, and no reason to refuse a configuration.
      if (!(error instanceof KernelError)) throw error;
      this.options.log.warn({ reason: error.message }, 'gateways could not be asked for');
      return latest;
    }
    const asked = new Set(absent.map(neighbourKey));
    for (const end = performance.now() + patienceMs; performance.now() < end; ) {
      latest = reachBy(await listNeighbours(this.run, this.present));
      const waits = latest.some(
        hop => asked.has(neighbourKey(hop)) && hop.state !== 'valid' && hop.state !== 'failed',
      );
      if (!waits) break;
      await delay(LOOK_AGAIN_MS);
    }
    return latest;
  }

  private async removeRouting(
    wanted: WantedRouting,
    listing: RoutingListing,
    gate: RepairGate = ALL_REPAIRS,
  ): Promise<number> {
    const { claims } = this.journal;
    const surplus = removals(wanted, listing, claims);
    const allowed = new Set(surplus.filter(removal => gate.allows(changeText(removal))));
    const removed = [...allowed];
    const waiting = surplus.filter(removal => !allowed.has(removal));
    const refused = await applyRemovals(this.run, removed);
    const left = [...refused.map(([removal]) => removal), ...waiting].map(({ claim }) => claim);
    for (const removal of removed) gate.repaired(changeText(removal));
    const rules = new Set([...wanted.rules, ...left.filter(isRule)].map(ruleKey));
    const tables = new Set(
      [...wanted.routes, ...wanted.egress, ...left.flatMap(claim => (isRule(claim) ? [] : [claim]))].map(
        tableKey,
      ),
    );
    await this.journal.write({
      ...claims,
      rules: claims.rules.filter(rule => rules.has(ruleKey(rule))),
      routes: claims.routes.filter(claim => tables.has(tableKey(claim))),
    });
    throwAny(refused.map(([, text]) => text));
    return removed.length;
  }

  /** One step at a time: each compares with what the one before left. */
  private inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(step);
    // A step that failed has told its own caller; the next one starts from what the kernel lists.
    this.last = result.catch(() => undefined);
    return result;
  }
}

function openJournal({ journalPath, identity, log }: KernelOptions): Promise<Journal> {
  return Journal.open(journalPath, identity, message => log.warn({}, message));
}

/** True if something of ours, or a claim to it, is not wanted. */
function isMoreThan(claims: Claims, wanted: WantedRouting, listing: RoutingListing): boolean {
  const kept = new Set([...wanted.rules.map(ruleKey), ...[...wanted.routes, ...wanted.egress].map(tableKey)]);
  return (
    [...claims.rules.map(ruleKey), ...claims.routes.map(tableKey)].some(key => !kept.has(key)) ||
    removals(wanted, listing, claims).length > 0
  );
}

/** As it is logged, and as repairs know it. */
function changeText({ family, line }: { readonly family: Family; readonly line: string }): string {
  return `ip -${family} ${line}`;
}

/** A target whose table holds another's default route cannot be reached by it. */
function unitedReasons(
  refused: ReadonlyMap<number, readonly string[]>,
  foreign: readonly ListedRoute[],
): Map<number, readonly string[]> {
  const reasons = new Map(refused);
  for (const route of foreign) {
    reasons.set(route.table, [...(reasons.get(route.table) ?? []), foreignRouteText(route)]);
  }
  return reasons;
}

function isRule(claim: Rule | TableClaim): claim is Rule {
  return 'priority' in claim;
}
