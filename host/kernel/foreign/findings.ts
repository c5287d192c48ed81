/** Which rules of other programs can keep packets from their targets. Pure. */
import type { Family } from '../../types/config.js';
import { overlapsPattern } from '../pattern.js';
import type { WantedKernel } from '../wanted.js';
import type { ForeignChain, ForeignRule } from './netfilter.js';
import { answers, decidedMarks, type Packets, requests } from './packets.js';
import { type Effect, evaluate, type Match } from './statements.js';

export type FindingHook = 'ingress' | 'prerouting' | 'forward' | 'postrouting' | 'egress';
export type FindingEffect = 'accept' | 'drop' | 'queue' | 'local' | 'take' | 'rewrite' | 'mark';

export interface Finding {
  readonly hook: FindingHook;
  readonly effect: FindingEffect;
  readonly packets: Packets['what'];
  /** The rule matches all of them; false: it may match some. */
  readonly certain: boolean;
  /** `table ip mangle, chain C` */
  readonly place: string;
  /** As it is listed; null: the chain's policy. */
  readonly rule: string | null;
  readonly handle: number | null;
}

/** How packets get into the queue. */
export interface Steered {
  /** Priority of the chains that steer. */
  readonly priority: number;
  /** The mark that leads into the queue by a rule of table mangle; null: the chains queue themselves. */
  readonly mark: { readonly value: number; readonly mask: number } | null;
}

export interface Findings {
  readonly findings: readonly Finding[];
  /** More rules than are looked at can be met. */
  readonly isCapped: boolean;
}

/** Rules that one review looks at: those of chains that packets to VIPs can meet. */
export const MOST_RULES = 5000;
/** A rule of each so many gives the main thread to others. */
const REST_RULES = 100;
/** NFT_JUMP_STACK_SIZE of linux/netfilter/nf_tables.h. */
const DEEPEST = 16;
/** Of table mangle. */
const MANGLE_PRIORITY = -150;

/**
 * - `queue`: in front of our rule in table mangle;
 * - `early`: before the queue; `late`: after it; `around`: one of the two, the kernel does not list which;
 * - `out`: after the packet's way was chosen.
 */
type Stage = 'queue' | 'early' | 'late' | 'around' | 'out';

interface Walk {
  readonly stage: Stage;
  readonly packets: Packets;
  readonly hook: FindingHook;
  readonly steered: Steered;
  /** Chains of the table. */
  readonly chains: ReadonlyMap<string, ForeignChain>;
}

export class Review {
  private readonly found = new Map<string, Finding>();
  private looked = 0;
  private isCapped = false;

  /** @param own  names of our tables, family inet */
  constructor(
    private readonly wanted: WantedKernel,
    private readonly steered: Steered,
    private readonly own: ReadonlySet<string>,
    private readonly rest: () => Promise<void>,
  ) {}

  async of(chains: readonly ForeignChain[]): Promise<Findings> {
    const theirs = chains.filter(({ table }) => !this.own.has(table));
    const byTable = groupByTable(theirs);
    for (const chain of theirs) {
      if (chain.hook === null || chain.hook.type === 'nat') continue;
      for (const walk of this.walksOf(chain, byTable.get(chain.table)!)) await this.base(chain, walk);
    }
    return { findings: [...this.found.values()], isCapped: this.isCapped };
  }

  /** The kinds of packets that meet a base chain, and when. */
  private walksOf(chain: ForeignChain, chains: Walk['chains']): Walk[] {
    const { wanted, steered } = this;
    const { at, devices } = chain.hook!;
    const decided = decidedMarks(wanted);
    return familiesOf(chain)
      .filter(family => wanted.vips.some(vip => vip.family === family))
      .flatMap((family): Walk[] => {
        const common = { steered, chains };
        const back = answers(wanted, family);
        const walk = (hook: FindingHook, stage: Stage, packets: Packets): Walk => ({
          ...common,
          hook,
          stage,
          packets,
        });
        switch (at) {
          case 'prerouting': {
            const stage = stageOf(chain, steered);
            const marks = stage === 'queue' ? [steered.mark!.value] : stage === 'late' ? decided : null;
            const request = walk(at, stage, requests(wanted, family, marks));
            // Answers are not queued: what they meet can only drop them.
            return [request, walk(at, 'out', back)];
          }
          case 'forward':
          case 'postrouting':
            return [walk(at, 'out', requests(wanted, family, decided)), walk(at, 'out', back)];
          case 'ingress':
          case 'egress': {
            const isIn = at === 'ingress';
            const kinds = [requests(wanted, family, isIn ? null : decided), back];
            return kinds
              .filter(({ inputs, outputs }) => meetsDevices(isIn ? inputs : outputs, devices))
              .map(packets => walk(at, isIn && packets !== back ? 'early' : 'out', packets));
          }
          default:
            return [];
        }
      });
  }

  private async base(chain: ForeignChain, walk: Walk): Promise<void> {
    const end = await this.rules(chain, walk, 'yes', 0);
    if (end === 'yes') return;
    if (chain.policy === 'drop') this.tell(walk, 'drop', chain, null, end === 'no' ? 'yes' : 'may');
  }

  /**
   * Walk through the rules of a chain.
   * @param reached  whether the packets come here
   * @returns whether they are done with when it ends: accepted, dropped or gone elsewhere
   */
  private async rules(chain: ForeignChain, walk: Walk, reached: Match, depth: number): Promise<Match> {
    let left: Match = 'no';
    for (const rule of chain.rules) {
      if (this.looked >= MOST_RULES) {
        this.isCapped = true;
        return 'may';
      }
      this.looked += 1;
      if (this.looked % REST_RULES === 0) await this.rest();
      if (isQueueRule(rule, walk.steered)) {
        if (depth === 0 && walk.stage === 'queue') return 'yes';
        continue;
      }
      const { match, effects } = evaluate(rule.statements, walk.packets);
      if (match === 'no') continue;
      const certainty: Match = match === 'yes' && reached === 'yes' && left === 'no' ? 'yes' : 'may';
      for (const effect of effects) {
        const end = await this.effect(effect, rule, chain, walk, certainty, depth);
        if (end === 'no') continue;
        if (end === 'return') {
          if (depth === 0 && walk.stage === 'queue') this.tell(walk, 'accept', chain, rule, certainty);
          if (match === 'yes') return left;
          left = left === 'no' ? left : 'may';
          continue;
        }
        if (end === 'yes' && match === 'yes') return 'yes';
        left = 'may';
      }
    }
    return left;
  }

  /** @returns whether packets are done with by it */
  private async effect(
    effect: Effect,
    rule: ForeignRule,
    chain: ForeignChain,
    walk: Walk,
    certainty: Match,
    depth: number,
  ): Promise<Match | 'return'> {
    const { stage } = walk;
    switch (effect.kind) {
      case 'accept':
        // It ends its own base chain, and no other one.
        if (stage === 'queue') this.tell(walk, 'accept', chain, rule, certainty);
        return 'yes';
      case 'drop':
      case 'take':
        this.tell(walk, effect.kind, chain, rule, certainty);
        return 'yes';
      case 'queue':
      case 'local':
        if (effect.kind === 'queue' || stage !== 'out') this.tell(walk, effect.kind, chain, rule, certainty);
        return 'yes';
      case 'rewrite':
        if (stage !== 'out') this.tell(walk, 'rewrite', chain, rule, certainty);
        return 'no';
      case 'mark':
        if (changesMark(effect, walk, this.wanted.markMask)) this.tell(walk, 'mark', chain, rule, certainty);
        return 'no';
      case 'return':
        return 'return';
      default: {
        const next = depth < DEEPEST ? walk.chains.get(effect.chain) : undefined;
        if (next === undefined) return 'no';
        const end = await this.rules(next, walk, certainty, depth + 1);
        if (effect.kind === 'jump') return end;
        // The end of a chain that was gone to is that of the base chain.
        return end === 'yes' ? end : 'return';
      }
    }
  }

  private tell(
    walk: Walk,
    effect: FindingEffect,
    chain: ForeignChain,
    rule: ForeignRule | null,
    certainty: Match,
  ): void {
    const { hook, packets } = walk;
    const place = `${chain.table}, chain ${chain.name}`;
    const key = [
      hook,
      effect,
      packets.what,
      place,
      rule === null ? 'policy' : (rule.handle ?? rule.text),
    ].join('|');
    const certain = certainty === 'yes' || this.found.get(key)?.certain === true;
    const named = { rule: rule?.text ?? null, handle: rule?.handle ?? null };
    this.found.set(key, { hook, effect, packets: packets.what, certain, place, ...named });
  }
}

function groupByTable(chains: readonly ForeignChain[]): Map<string, Map<string, ForeignChain>> {
  const groups = new Map<string, Map<string, ForeignChain>>();
  for (const chain of chains) {
    const group = groups.get(chain.table) ?? new Map<string, ForeignChain>();
    groups.set(chain.table, group.set(chain.name, chain));
  }
  return groups;
}

/** Families whose packets meet a chain. */
function familiesOf({ family }: ForeignChain): Family[] {
  if (family === 'ip') return [4];
  if (family === 'ip6') return [6];
  return family === 'inet' || family === 'netdev' ? [4, 6] : [];
}

function stageOf(chain: ForeignChain, { priority, mark }: Steered): Stage {
  const own = chain.hook!.priority;
  if (mark === null) return own < priority ? 'early' : own > priority ? 'late' : 'around';
  if (/^table ip6? mangle$/.test(chain.table) && chain.name === 'PREROUTING') return 'queue';
  return own < priority ? 'early' : own > MANGLE_PRIORITY ? 'late' : 'around';
}

/** Our rule that queues what bears the reserved mark. */
function isQueueRule({ statements }: ForeignRule, { mark }: Steered): boolean {
  if (mark === null) return false;
  const [, value] = /^(?:meta )?mark (?:(?:&|and) \S+ == )?(0x[0-9a-f]+)\b/.exec(statements) ?? [];
  return Number(value) === mark.value && /(?:^| )(?:queue\b|xt target "?NFQUEUE)/.test(statements);
}

/** Whether a change of the mark keeps packets from the queue, or from their target. */
function changesMark(
  { result }: Extract<Effect, { kind: 'mark' }>,
  { stage, packets, steered }: Walk,
  markMask: number,
): boolean {
  if (stage === 'early' || stage === 'out') return false;
  const { marks } = packets;
  if (marks === null) return true;
  const mask = stage === 'queue' ? steered.mark!.mask : markMask;
  return marks.some(mark => {
    const after = result(mark);
    return after === null || ((after ^ mark) & mask) !== 0;
  });
}

function meetsDevices(ours: readonly string[] | null, devices: readonly string[]): boolean {
  if (ours === null) return true;
  return devices.some(device => ours.some(own => overlapsPattern(own, device)));
}
