/**
 * The door of this room: the kernel's state of one configuration, in four steps that each compare what is wanted with
 * what the kernel lists. Start, reload, going back and repair after SIGKILL are therefore one path.
 */

import { type Run, run as runCommand } from '../programs/command.js';
import type { Family } from '../types/config.js';
import { ClashError, KernelError } from '../types/errors.js';
import { type Carrier, probeCarrier } from './carrier.js';
import { type TableClaim, tableKey, unitedClaims } from './claims.js';
import { Journal, type NamespaceIdentity } from './journal.js';
import { applyMangle } from './mangle.js';
import { flushNeighbours } from './neighbour.js';
import { renderTables, TABLES } from './nft.js';
import {
  addedHops,
  additions,
  claimsOf,
  type RoutingListing,
  refuseForeignRoutes,
  removals,
  type WantedRouting,
  wantedRouting,
} from './routing.js';
import { applyChanges, applyRemovals, listRouting, throwAny } from './routing-apply.js';
import { type Rule, ruleKey } from './rule.js';
import { applyTables, listTables, mangleTable, removeMangle, removeTables } from './ruleset.js';
import { applySysctls, type Ipv6State, ipv6State } from './sysctl.js';
import type { PendingTarget, WantedKernel } from './wanted.js';

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
}

export interface AddOutcome {
  /** Targets of which a route was refused; each once. */
  readonly pending: PendingTarget[];
  /** IPv6 that is not served, settings, gateways and neighbour entries that are not as wanted; one line each. */
  readonly warnings: string[];
}

const NOTHING: WantedRouting = { rules: [], routes: [] };

export class Kernel {
  private last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly steering: Carrier,
    /** As of the last `add`: what follows it is for the same families. */
    private ipv6: Ipv6State,
    private readonly journal: Journal,
    private readonly run: Run,
  ) {}

  /**
   * Probe the kernel and read the journal. Changes nothing in the kernel.
   * @throws ClashError if a table of our name stands that the journal does not claim; EnvironmentError if the kernel
   *   cannot queue, a program is missing, or the journal cannot be understood
   */
  static async open(options: KernelOptions): Promise<Kernel> {
    const { journalPath, identity, log, run = runCommand } = options;
    const steering = await probeCarrier(run);
    const journal = await Journal.open(journalPath, identity, message => log.warn({}, message));
    const kernel = new Kernel(steering, await ipv6State(), journal, run);
    kernel.refuseForeignTables(await listTables(run));
    log.info({ carrier: steering.name }, `packets are steered into the queues by ${steering.name}`);
    return kernel;
  }

  get carrier(): Carrier['name'] {
    return this.steering.name;
  }

  /** Families that are served. */
  private get families(): Family[] {
    return this.ipv6 === 'enabled' ? [4, 6] : [4];
  }

  /**
   * Settings, then rules and routes that are new or changed; nothing is removed. A route that the kernel refuses makes
   * its target pending. IPv6 that is absent or disabled is a warning, and nothing is wanted for it until a later `add`
   * finds it enabled.
   * @throws ClashError, with nothing changed, if a default route that is not ours stands in a wanted table; KernelError
   */
  add(wanted: WantedKernel): Promise<AddOutcome> {
    return this.inTurn(async () => {
      this.ipv6 = await ipv6State();
      const listing = await this.list();
      const routing = wantedRouting(wanted, listing, this.journal.claims);
      refuseForeignRoutes(routing, listing, this.journal.claims);
      const before = this.journal.claims;
      await this.journal.write(unitedClaims(before, claimsOf(routing, listing, before)));
      const warnings = await applySysctls(this.ipv6);
      const outcome = await applyChanges(this.run, additions(routing, listing));
      const refused = await flushNeighbours(this.run, addedHops(routing, listing, before));
      const pending = wanted.targets
        .filter(({ fwmark }) => outcome.refused.has(fwmark))
        .map(({ fwmark, label }) => ({ fwmark, label, reason: outcome.refused.get(fwmark)!.join('; ') }));
      return { pending, warnings: [...warnings, ...outcome.warnings, ...refused] };
    });
  }

  /**
   * The nftables tables, in one transaction, behind the rules that queue.
   * @throws ClashError, with nothing changed, if a table of our name stands that is not ours; KernelError
   */
  applyRuleset(wanted: WantedKernel): Promise<void> {
    return this.inTurn(async () => {
      const listed = await listTables(this.run);
      this.refuseForeignTables(listed);
      const mangleRules = this.steering.mangleRules(wanted.queues);
      const mangle = this.families.map(family => ({
        family,
        created: !listed.has(mangleTable(family)),
      }));
      const claims = { tables: [...TABLES], mangle: mangleRules.length > 0 ? mangle : [] };
      await this.journal.write(unitedClaims(this.journal.claims, claims));
      if (mangleRules.length > 0) {
        // Before the chains that set the reserved mark: a packet that bears it must find who queues it.
        // One after the other: the kernel lists tables in the order of their making.
        for (const family of this.families) {
          await applyMangle(this.run, family, mangleRules);
        }
      }
      await applyTables(this.run, renderTables(wanted, this.steering), listed);
    });
  }

  /** Rules and routes of ours that are not wanted, also those that a crashed run left. @throws KernelError */
  removeStale(wanted: WantedKernel): Promise<void> {
    return this.inTurn(async () => {
      const listing = await this.list();
      await this.removeRouting(wantedRouting(wanted, listing, this.journal.claims), listing);
    });
  }

  /** The ruleset alone: from now on no packet is steered. @throws KernelError */
  removeRuleset(): Promise<void> {
    return this.inTurn(() => this.takeRuleset());
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
      await attempt(() => this.takeRuleset());
      await attempt(async () => this.removeRouting(NOTHING, await this.list()));
      if (errors.length === 1) {
        throw errors[0];
      }
      if (errors.length > 0) {
        const text = errors.map(error => error.message).join('; ');
        throw new KernelError(text, { cause: errors[0] });
      }
    });
  }

  private async takeRuleset(): Promise<void> {
    const { claims } = this.journal;
    if (claims.tables.length === 0 && claims.mangle.length === 0) {
      return;
    }
    const listed = await listTables(this.run);
    await removeTables(this.run, claims.tables, listed);
    for (const claim of claims.mangle) {
      await removeMangle(this.run, claim, listed);
    }
    await this.journal.write({ ...this.journal.claims, tables: [], mangle: [] });
  }

  /** IPv6 too where it is disabled: its rules stand on, and are then ours to remove. */
  private list(): Promise<RoutingListing> {
    return listRouting(this.run, this.ipv6 === 'absent' ? [4] : [4, 6], this.families);
  }

  private async removeRouting(wanted: WantedRouting, listing: RoutingListing): Promise<void> {
    const { claims } = this.journal;
    const refused = await applyRemovals(this.run, removals(wanted, listing, claims));
    const left = refused.map(([removal]) => removal.claim);
    const rules = new Set([...wanted.rules, ...left.filter(isRule)].map(ruleKey));
    const tables = new Set(
      [...wanted.routes, ...left.flatMap(claim => (isRule(claim) ? [] : [claim]))].map(tableKey),
    );
    await this.journal.write({
      ...claims,
      rules: claims.rules.filter(rule => rules.has(ruleKey(rule))),
      routes: claims.routes.filter(claim => tables.has(tableKey(claim))),
    });
    throwAny(refused.map(([, text]) => text));
  }

  private refuseForeignTables(listed: ReadonlySet<string>): void {
    for (const name of TABLES) {
      if (listed.has(`inet ${name}`) && !this.journal.claims.tables.includes(name)) {
        throw new ClashError(
          `nftables table inet ${name} stands and no journal of this daemon claims it: ` +
            `stop what made it, or remove it with: nft delete table inet ${name}`,
        );
      }
    }
  }

  /** One step at a time: each compares with what the one before left. */
  private inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(step);
    // A step that failed has told its own caller; the next one starts from what the kernel lists.
    this.last = result.catch(() => undefined);
    return result;
  }
}

function isRule(claim: Rule | TableClaim): claim is Rule {
  return 'priority' in claim;
}
