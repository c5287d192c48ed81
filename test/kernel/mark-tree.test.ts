/** The tree of rules, walked as the kernel walks it, at rest and while one becomes another. */
import fc from 'fast-check';
import t from 'tap';
import { NO_CLAIMS, unitedClaims } from '../../host/kernel/claims.js';
import { clashes } from '../../host/kernel/clash.js';
import { GUARD_PRIORITY, HIGHEST_TREE_MARK, markTree, TREE_SHAPE } from '../../host/kernel/mark-tree.js';
import type { MarkRange } from '../../host/kernel/marks.js';
import {
  additions,
  NO_ROUTING,
  removals,
  type WantedRouting,
  wantedRouting,
} from '../../host/kernel/routing.js';
import { endsWalk, parseRules, type Rule, ruleKey } from '../../host/kernel/rule.js';
import { MOST_LISTED } from '../../host/kernel/target-rules.js';
import type { WantedKernel } from '../../host/kernel/wanted.js';
import { WHOLE_MARK } from '../../host/types/marks.js';
import { EXAMPLE, target } from './example.js';
import { RuleWalk } from './rule-walk.js';

const MAIN: Rule = { family: 4, priority: 32766, fwmark: null, from: null, to: null, table: 254 };

/** What a configuration with these marks wants. */
function wantedOf(marks: readonly number[], markRanges: readonly MarkRange[]): WantedKernel {
  const targets = marks.map(mark => target(mark - 5000, '172.16.0.6'));
  return { ...EXAMPLE, egress: [], targets, markRanges };
}

const listingOf = (kernel: RuleWalk) => ({
  families: [4 as const],
  rules: [kernel.listing],
  routes: [],
  links: [],
  narrow: [],
});

const routingOf = (wanted: WantedKernel, kernel: RuleWalk, claimed: readonly Rule[]): WantedRouting =>
  wantedRouting(wanted, listingOf(kernel), unitedClaims(NO_CLAIMS, { rules: claimed }));

/** As `Kernel.add` and `removeStale`, one rule at a time; `look` is called after each. */
function change(kernel: RuleWalk, wanted: WantedKernel, claimed: readonly Rule[], look: () => void): Rule[] {
  const routing = routingOf(wanted, kernel, claimed);
  const byLine = new Map(routing.rules.map(rule => [ruleKey(rule), rule]));
  const standing = new Set(kernel.listing.rules.map(ruleKey));
  const missing = [...byLine.values()].filter(rule => !standing.has(ruleKey(rule)));
  const lines = additions(routing, listingOf(kernel)).filter(({ of }) => of.kind === 'rule');
  if (lines.length !== missing.length) throw new Error('rules are added that are not wanted, or not all');
  for (const rule of missing) {
    kernel.add(rule);
    look();
  }
  const claims = unitedClaims(NO_CLAIMS, { rules: [...claimed, ...routing.rules] });
  for (const { claim } of removals(routing, listingOf(kernel), claims)) {
    if ('priority' in claim) kernel.remove(claim);
    look();
  }
  return [...routing.rules];
}

const mark = (first: number, last: number) => fc.integer({ min: first, max: last });
const RANGES: readonly MarkRange[] = [
  { first: 5001, last: 5100 },
  { first: 5101, last: 5333 },
  { first: 6000, last: 7023 },
];
/** Many, few, near one another and far apart, of one stream or several. */
const marks = fc
  .tuple(
    fc.uniqueArray(mark(5001, 5100), { maxLength: 100 }),
    fc.uniqueArray(mark(5101, 5333), { maxLength: 40 }),
    fc.uniqueArray(mark(6000, 7023), { maxLength: 80 }),
  )
  .map(lists => lists.flat());
const OTHERS = [0, 77, 4999, 5000, 5334, 5999, 7024, 0xffffffff];

function meets(kernel: RuleWalk, own: readonly number[], ranges = RANGES): string[] {
  const served = new Set(own);
  const inRanges = ranges.flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, at) => first + at),
  );
  const wrong = (each: number, wanted: unknown) => {
    const { end } = kernel.walk(each);
    return end === wanted ? [] : [`mark ${each}: ${end}, not ${wanted}`];
  };
  return [
    ...inRanges.flatMap(each => wrong(each, served.has(each) ? each : 'blackhole')),
    ...OTHERS.flatMap(each => wrong(each, 254)),
  ];
}

function kernelWithMain(): RuleWalk {
  const kernel = new RuleWalk();
  kernel.add(MAIN);
  return kernel;
}

t.test('each mark of a target meets its table, other marks of streams a blackhole, all others main', t => {
  fc.assert(
    fc.property(marks, own => {
      const kernel = kernelWithMain();
      change(kernel, wantedOf(own, RANGES), [], () => {});
      const wrong = meets(kernel, own);
      if (wrong.length > 0) throw new Error(wrong.slice(0, 5).join('; '));
    }),
    { numRuns: 60 },
  );
  t.pass();
  t.end();
});

t.test('while rules become others, one by one, no mark that stays is without its table for a moment', t => {
  fc.assert(
    fc.property(marks, marks, fc.integer(), (before, after, seed) => {
      const kernel = kernelWithMain();
      const claimed = change(kernel, wantedOf(before, RANGES), [], () => {});
      const stay = before.filter(each => after.includes(each));
      let step = 0;
      const look = () => {
        step++;
        for (let at = 0; at < 4 && stay.length > 0; at++) {
          const each = stay[Math.abs(seed + step * 31 + at * 17) % stay.length]!;
          const { end } = kernel.walk(each);
          if (end !== each) throw new Error(`step ${step}: mark ${each} meets ${end}`);
        }
        for (const each of [0, 5000, 5334]) {
          const { end } = kernel.walk(each);
          if (end !== 254) throw new Error(`step ${step}: mark ${each}, not ours, meets ${end}`);
        }
        const other = 5001 + (Math.abs(seed + step * 7) % 333);
        const { end } = kernel.walk(other);
        if (end === 254 || (typeof end === 'number' && end !== other))
          throw new Error(`step ${step}: mark ${other} meets ${end}`);
      };
      change(kernel, wantedOf(after, RANGES), claimed, look);
      const wrong = meets(kernel, after);
      if (wrong.length > 0) throw new Error(wrong.slice(0, 5).join('; '));
      const standing = kernel.listing.rules.map(ruleKey).sort();
      const fresh = kernelWithMain();
      change(fresh, wantedOf(after, RANGES), [], () => {});
      if (after.length > MOST_LISTED)
        // A list keeps the priorities that it has.
        t.strictSame(standing, fresh.listing.rules.map(ruleKey).sort());
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('ranges that grow, meet and shrink leave no mark without its table either', t => {
  const own = Array.from({ length: 900 }, (_, index) => 5001 + index);
  const stages: MarkRange[][] = [
    [{ first: 5001, last: 5900 }],
    [{ first: 5001, last: 8191 }],
    [{ first: 4096, last: 16383 }],
    [{ first: 5001, last: 5900 }],
  ];
  const kernel = kernelWithMain();
  let claimed: Rule[] = [];
  let step = 0;
  for (const ranges of stages) {
    const isFirst = claimed.length === 0;
    const look = () => {
      const each = own[(step++ * 37) % own.length]!;
      if (!isFirst && kernel.walk(each).end !== each) throw new Error(`step ${step}: mark ${each}`);
    };
    claimed = change(kernel, wantedOf(own, ranges), claimed, look);
    t.same(
      own.filter(each => kernel.walk(each).end !== each),
      [],
    );
  }
  t.end();
});

t.test(
  'what is deleted of it and added again is as it was: the end of a block stays behind its lookups',
  t => {
    fc.assert(
      fc.property(marks, fc.integer({ min: 2, max: 9 }), (own, every) => {
        const kernel = kernelWithMain();
        const rules = change(kernel, wantedOf(own, RANGES), [], () => {});
        for (const [index, rule] of rules.entries()) if (index % every === 0) kernel.remove(rule);
        change(kernel, wantedOf(own, RANGES), rules, () => {});
        const wrong = meets(kernel, own);
        if (wrong.length > 0) throw new Error(wrong.slice(0, 5).join('; '));
      }),
      { numRuns: 40 },
    );
    t.pass();
    t.end();
  },
);

t.test(`up to ${MOST_LISTED} targets it is the list of the reference, one more and it is a tree`, t => {
  const rulesOf = (count: number) => {
    const own = Array.from({ length: count }, (_, index) => 5001 + index);
    return routingOf(wantedOf(own, [{ first: 5001, last: 5100 }]), kernelWithMain(), []).rules;
  };
  const list = rulesOf(MOST_LISTED).filter(rule => rule.table !== null && rule.fwmark?.mask === WHOLE_MARK);
  t.same(
    list.map(({ priority, table }) => [priority, table]),
    Array.from({ length: MOST_LISTED }, (_, index) => [99 - index, 5001 + index]),
  );
  t.notOk(rulesOf(MOST_LISTED).some(({ priority }) => priority > 102));
  t.ok(rulesOf(MOST_LISTED + 1).some(({ priority }) => priority === GUARD_PRIORITY));
  const high = [...Array(65).keys()].map(index => HIGHEST_TREE_MARK - 63 + index);
  const { rules } = routingOf(wantedOf(high, []), kernelWithMain(), []);
  t.notOk(
    rules.some(({ goto }) => goto !== undefined),
    'marks that have no place in a tree are listed',
  );
  t.end();
});

t.test('with markMask the same target is found, whatever the other bits are', t => {
  const own = Array.from({ length: 300 }, (_, index) => 5001 + 3 * index);
  const ranges = [{ first: 5001, last: 6000 }];
  const whole = new RuleWalk();
  const masked = new RuleWalk();
  const wanted = wantedOf(own, ranges);
  for (const rule of routingOf(wanted, kernelWithMain(), []).rules) whole.add(rule);
  for (const rule of routingOf({ ...wanted, markMask: 0xffff }, kernelWithMain(), []).rules) masked.add(rule);
  for (const mark of [...Array(1002).keys()].map(index => 5000 + index))
    for (const others of [0, 0x40000, 0xffff0000])
      if (masked.walk(mark + others).end !== whole.walk(mark).end) t.fail(`mark ${mark}, others ${others}`);
  t.equal(masked.walk(5001).end, 5001);
  t.end();
});

t.test('places are below 2^32, and no two blocks share one', t => {
  for (const base of [1, 5001, 2 ** 24 - 100, HIGHEST_TREE_MARK - 4999]) {
    const own = Array.from({ length: 5000 }, (_, index) => base + index);
    const rules = markTree(own, []);
    const places = rules.flatMap(({ goto }) => (goto === undefined ? [] : [goto]));
    const taken = places.flatMap(place => [place, place + 1]);
    t.equal(new Set(taken).size, taken.length, `from ${base}`);
    t.ok(taken.every(place => place > GUARD_PRIORITY && place < 2 ** 32));
  }
  t.end();
});

t.test('a packet meets few rules, and one more target changes few', t => {
  const rows: [claim: string, marks: number[], last: number, mean: number, rulesEach: number][] = [
    ['1,000 in a row', Array.from({ length: 1000 }, (_, at) => 5001 + at), 6000, 20, 1.2],
    ['1,000 among 10,000', Array.from({ length: 1000 }, (_, at) => 5001 + 10 * at), 15000, 20, 1.5],
    ['10,000 in a row', Array.from({ length: 10000 }, (_, at) => 5001 + at), 15000, 25, 1.2],
  ];
  for (const [claim, own, last, mean, rulesEach] of rows) {
    const ranges = [{ first: 5001, last }];
    const rules = markTree(own, ranges).map(rule => ({ ...MAIN, ...rule }));
    t.ok(rules.length < own.length * rulesEach, `${claim}: ${rules.length} rules`);
    const kernel = new RuleWalk();
    // The walk in the test is slow itself.
    if (own.length <= 1000) {
      for (const rule of rules) kernel.add(rule);
      const steps = own.map(each => kernel.walk(each).steps);
      const average = steps.reduce((sum, each) => sum + each, 0) / steps.length;
      t.ok(average < mean, `${claim}: ${average.toFixed(1)} rules on the way, ${Math.max(...steps)} at most`);
      t.ok(kernel.walk(0).steps <= 30, 'and what bears no mark passes few');
    }
    const keys = new Set(rules.map(ruleKey));
    const changes = own.slice(0, 7).map((_, at) => {
      const without = own.toSpliced((at * 143) % own.length, 1);
      const fewer = new Set(markTree(without, ranges).map(rule => ruleKey({ ...MAIN, ...rule })));
      return (
        [...keys].filter(key => !fewer.has(key)).length + [...fewer].filter(key => !keys.has(key)).length
      );
    });
    t.ok(Math.max(...changes) <= 4 * TREE_SHAPE.lookups, `${claim}: ${Math.max(...changes)} changes at most`);
    t.ok(changes.toSorted((a, b) => a - b)[3]! <= 4);
  }
  t.end();
});

t.test(
  'rules that lead elsewhere go first, others as the kernel lists them: no search for one goes far',
  t => {
    const kernel = kernelWithMain();
    const { rules } = routingOf(
      wantedOf(
        Array.from({ length: 1000 }, (_, at) => 5001 + at),
        RANGES,
      ),
      kernel,
      [],
    );
    for (const rule of rules) kernel.add(rule);
    const claims = unitedClaims(NO_CLAIMS, { rules });
    const removed = removals(NO_ROUTING, listingOf(kernel), claims).map(({ claim }) => claim as Rule);
    t.equal(removed.length, rules.length);
    const firstOther = removed.findIndex(({ goto }) => goto === undefined);
    t.ok(firstOther > 50, `${firstOther} lead elsewhere`);
    t.ok(
      removed.slice(firstOther).every(({ goto }) => goto === undefined),
      'while one of them stands, each deletion walks the whole list once more',
    );
    for (const part of [
      removed.slice(0, firstOther),
      removed.slice(firstOther).filter(rule => !endsWalk(rule)),
      removed.slice(firstOther).filter(endsWalk),
    ]) {
      const priorities = part.map(({ priority }) => priority);
      t.same(
        priorities,
        priorities.toSorted((one, other) => one - other),
      );
    }
    t.end();
  },
);

t.test('a rule of another hand where the tree is, is a clash; where there is a list, it is none', t => {
  const foreign = parseRules(4, [{ priority: 1_050_400, src: '10.0.0.0', srclen: 8, table: '7' }]);
  const found = (count: number) => {
    const own = Array.from({ length: count }, (_, index) => 5001 + index);
    const listing = { ...listingOf(kernelWithMain()), rules: [foreign] };
    return clashes(wantedRouting(wantedOf(own, RANGES), listing, NO_CLAIMS), listing, NO_CLAIMS);
  };
  t.same(found(MOST_LISTED), []);
  t.match(found(MOST_LISTED + 1), [/^IPv4 rule 1050400: lookup 7 stands among our rules for many targets/]);
  t.end();
});
