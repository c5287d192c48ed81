/** Rules of one family as the kernel holds and walks them (net/core/fib_rules.c), with a default route in main alone. */
import type { MarkBlock } from '../../host/kernel/marks.js';
import { type Rule, type RuleListing, ruleKey } from '../../host/kernel/rule.js';

export class RuleWalk {
  /** By priority; those of one in the order in which they came. */
  private readonly rules: Rule[] = [];

  /** @throws Error if it stands, or the kernel would take another one for it: it does not look where a `goto` leads */
  add(rule: Rule): void {
    if (rule.goto !== undefined && rule.goto <= rule.priority)
      throw new Error(`it leads back: ${ruleKey(rule)}`);
    const same = this.rules.find(other => kernelKey(other) === kernelKey(rule));
    if (same !== undefined) throw new Error(`File exists: ${ruleKey(rule)} as ${ruleKey(same)}`);
    const behind = this.rules.findIndex(({ priority }) => priority > rule.priority);
    this.rules.splice(behind < 0 ? this.rules.length : behind, 0, rule);
  }

  /** @throws Error if it does not stand */
  remove(rule: Rule): void {
    const at = this.rules.findIndex(other => ruleKey(other) === ruleKey(rule));
    if (at < 0) throw new Error(`No such file or directory: ${ruleKey(rule)}`);
    this.rules.splice(at, 1);
  }

  get listing(): RuleListing {
    return { rules: [...this.rules], all: this.rules.map(rule => ({ ...rule, rule, ...ANY })) };
  }

  /**
   * Where a packet of `mark` goes that has no VIP as its source and no target's network as its destination.
   * @returns how many rules it meets, and the table, or what ends it; all tables have a default route
   */
  walk(mark: number): { readonly end: number | 'blackhole' | 'unreachable'; readonly steps: number } {
    let steps = 0;
    for (let at = 0; at < this.rules.length; at++) {
      const rule = this.rules[at]!;
      steps++;
      if (rule.from !== null || rule.to !== null || !holds(rule.fwmark, mark)) continue;
      if (rule.table !== null) return { end: rule.table, steps };
      if (rule.goto === undefined)
        return { end: rule.unreachable === true ? 'unreachable' : 'blackhole', steps };
      const next = this.rules.findIndex(({ priority }) => priority === rule.goto);
      // One whose place nobody has is passed over.
      if (next >= 0) at = next - 1;
    }
    return { end: 'unreachable', steps };
  }
}

function holds(block: MarkBlock | null, mark: number): boolean {
  return block === null || Number(BigInt(mark) & BigInt(block.mask)) === block.value;
}

function kernelKey(rule: Rule): string {
  return ruleKey(rule.goto === undefined ? rule : { ...rule, goto: 0 });
}

/** What rules of ours ask for besides: nothing. */
const ANY = { iif: null, inverted: false, idle: false } as const;
