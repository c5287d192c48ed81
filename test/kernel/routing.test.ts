/** Rows of wanted in, lines for ip out; no root needed. */
import t from 'tap';
import { parseFailures, runBatch } from '../../host/kernel/batch.js';
import { type Claims, NO_CLAIMS, unitedClaims } from '../../host/kernel/claims.js';
import { clashes } from '../../host/kernel/clash.js';
import { rulesInFront } from '../../host/kernel/in-front.js';
import { flushNeighbours, listNeighbours, neighbourKey } from '../../host/kernel/neighbour.js';
import { assignPriorities } from '../../host/kernel/priority.js';
import { parseRoutes } from '../../host/kernel/route.js';
import {
  addedHops,
  additions,
  claimsOf,
  NO_ROUTING,
  type RoutingListing,
  removals,
  wantedRouting,
} from '../../host/kernel/routing.js';
import { parseRules, type Rule } from '../../host/kernel/rule.js';
import { MOST_LISTED } from '../../host/kernel/target-rules.js';
import type { WantedKernel } from '../../host/kernel/wanted.js';
import type { Run } from '../../host/programs/command.js';
import { WHOLE_MARK } from '../../host/types/marks.js';
import { prefixOf } from '../fixture/config.js';
import { EXAMPLE, target } from './example.js';

const DEFAULTS = [
  { priority: 0, src: 'all', table: '255' },
  { priority: 32766, src: 'all', table: '254' },
];
const EMPTY: RoutingListing = {
  families: [4],
  rules: [parseRules(4, DEFAULTS)],
  routes: [],
  links: [],
  narrow: [],
};

function ruleFor(fwmark: number, priority: number): Rule {
  return {
    family: 4,
    priority,
    fwmark: { value: fwmark, mask: WHOLE_MARK },
    from: null,
    to: null,
    table: fwmark,
  };
}

function listingOf(rules: readonly Rule[], routes: RoutingListing['routes'] = []): RoutingListing {
  return {
    families: [4],
    rules: [{ rules, all: rules.map(rule => ({ ...rule, rule, iif: null, inverted: false, idle: false })) }],
    routes,
    links: [],
    narrow: [],
  };
}

function claimsWith(claims: Partial<Claims>): Claims {
  return unitedClaims(NO_CLAIMS, claims);
}

t.test('the example from nothing', t => {
  const small: WantedKernel = { ...EXAMPLE, markRanges: [{ first: 5001, last: 5003 }] };
  const wanted = wantedRouting(small, EMPTY, NO_CLAIMS);
  const lines = additions(wanted, EMPTY).map(change => change.line);
  t.same(lines, [
    'rule add priority 102 fwmark 0x1389/0xffffffff blackhole',
    'rule add priority 102 fwmark 0x138a/0xfffffffe blackhole',
    'rule add priority 100 from 20.0.0.1/32 lookup 4096',
    'rule add priority 101 from 20.0.0.1/32 lookup 4097',
    'rule add priority 99 fwmark 0x13cd/0xffffffff lookup 5069',
    'rule add priority 98 fwmark 0x13c6/0xffffffff lookup 5062',
    'rule add priority 97 fwmark 0x13b4/0xffffffff lookup 5044',
    'rule add priority 96 fwmark 0x13d1/0xffffffff lookup 5073',
    'route replace blackhole default table 4097',
    'route replace default via 172.16.0.6 table 5069',
    'route replace default via 172.16.0.8 table 5062',
    'route replace default via 172.16.1.6 table 5044',
    'route replace default via 172.16.1.8 table 5073',
  ]);
  t.same(
    addedHops(wanted, EMPTY, NO_CLAIMS).map(hop => hop.address),
    ['172.16.0.6', '172.16.0.8', '172.16.1.6', '172.16.1.8'],
  );
  t.end();
});

t.test('answers to clients that are targets go straight to them: by the networks that targets are in', t => {
  const links = ['172.16.0.0/24', '172.16.1.0/24', '169.254.100.0/24', '172.16.0.0/24'].map(
    (prefix, index) => ({
      ...prefixOf(prefix),
      device: `link-${index}`,
      isSubnet: true,
    }),
  );
  const wanted = wantedRouting(EXAMPLE, { ...EMPTY, links }, NO_CLAIMS);
  t.same(
    additions(wanted, EMPTY)
      .map(change => change.line)
      .filter(line => line.includes(' to ')),
    [
      'rule add priority 1 to 172.16.0.0/24 fwmark 0x0/0xffffffff lookup 254',
      'rule add priority 1 to 172.16.1.0/24 fwmark 0x0/0xffffffff lookup 254',
    ],
  );
  t.end();
});

t.test("table 4096 is BIRD's: its routes stay while there are gateways, what older versions set goes", t => {
  const routes = parseRoutes(4, [
    { dst: 'default', gateway: '169.254.100.150', dev: 'x', table: '4096', protocol: '12', metric: 32 },
    { dst: 'default', gateway: '169.254.100.151', dev: 'x', table: '4096', protocol: '4', metric: 32 },
  ]);
  const listing = { ...EMPTY, routes };
  const claims = claimsWith({ routes: [{ family: 4, table: 4096 }] });
  const lines = (wanted: WantedKernel) =>
    removals(wantedRouting(wanted, listing, claims), listing, claims).map(removal => removal.line);
  t.same(lines(EXAMPLE), ['route del default table 4096 proto 4 metric 32']);
  t.same(lines({ ...EXAMPLE, egress: [] }), [
    'route del default table 4096 proto 12 metric 32',
    'route del default table 4096 proto 4 metric 32',
  ]);
  t.end();
});

t.test('a VIP of all addresses is two halves', t => {
  const vips = [{ family: 4 as const, address: '0.0.0.0', length: 0 }];
  const wanted = wantedRouting({ ...EXAMPLE, vips, targets: [], markRanges: [] }, EMPTY, NO_CLAIMS);
  t.same(
    wanted.rules.map(rule => `${rule.priority} ${rule.from}`),
    ['100 0.0.0.0/1', '101 0.0.0.0/1', '100 128.0.0.0/1', '101 128.0.0.0/1'],
  );
  t.end();
});

t.test('the neighbour of a target that is added is forgotten, unless another mark leads to it already', t => {
  const listing = listingOf(
    [ruleFor(5001, 99)],
    parseRoutes(4, [{ dst: 'default', gateway: '172.16.0.6', dev: 'x', table: '5001' }]),
  );
  const claims = claimsWith({ rules: [ruleFor(5001, 99)], routes: [{ family: 4, table: 5001 }] });
  const targets = [target(1, '172.16.0.6'), target(2, '172.16.0.6'), target(3, '172.16.0.8')];
  const wanted = wantedRouting({ ...EXAMPLE, targets }, listing, claims);
  t.same(
    addedHops(wanted, listing, claims).map(hop => hop.address),
    ['172.16.0.8'],
  );
  t.end();
});

t.test('priorities', t => {
  const ours = (rule: Rule) => rule.table !== 666;
  const rows: [claim: string, marks: number[], standing: Rule[], expected: number[]][] = [
    ['from 99 down in the order of the file', [7, 5, 6], [], [99, 98, 97]],
    ['an existing target keeps its own', [5, 7, 6], [ruleFor(7, 42)], [99, 42, 98]],
    ['one of any hand is not free', [7, 5], [ruleFor(666, 99), ruleFor(8, 98)], [97, 96]],
    ['of two the higher is kept', [7], [ruleFor(7, 42), ruleFor(7, 44)], [44]],
    ['a foreign rule for the same mark is not kept', [666], [ruleFor(666, 50)], [99]],
  ];
  for (const [claim, marks, standing, expected] of rows) {
    const listing = listingOf(standing).rules;
    t.same([...assignPriorities(marks, listing, ours).values()], expected, claim);
  }
  const many = Array.from({ length: 101 }, (_, index) => 5001 + index);
  t.same([...assignPriorities(many, [], ours).values()].slice(96), [3, 2, 1, 1, 1], 'the others share 1');
  t.end();
});

t.test('what is applied and claimed needs no line, whatever the spelling', t => {
  const only = { ...EXAMPLE, vips: [], egress: [], markRanges: [], targets: [target(1, 'fd00:0:0:1::6')] };
  const listing: RoutingListing = {
    families: [6],
    links: [],
    narrow: [],
    rules: [parseRules(6, [{ priority: 60, src: 'all', fwmark: '0x1389', table: '5001' }])],
    routes: parseRoutes(6, [
      { dst: 'default', gateway: 'fd00::1:0:0:0:6', dev: 'x', table: '5001', metric: 1024 },
    ]),
  };
  const claims = claimsWith({
    rules: [{ ...ruleFor(5001, 60), family: 6 }],
    routes: [{ family: 6, table: 5001 }],
  });
  const wanted = wantedRouting(only, listing, claims);
  t.same(additions(wanted, listing), []);
  t.same(addedHops(wanted, listing, claims), []);
  t.same(removals(wanted, listing, claims), []);
  t.end();
});

t.test('only what is claimed is removed; rules first, blackholes last', t => {
  const drop: Rule = { ...ruleFor(5000, 102), table: null };
  const routes = parseRoutes(4, [
    { dst: 'default', gateway: '172.16.0.6', dev: 'x', table: '5001' },
    { dst: 'default', gateway: '172.16.0.6', dev: 'x', table: '5002' },
    { dst: 'default', gateway: '172.16.0.6', dev: 'x', table: '5003', protocol: '12' },
  ]);
  const listing = listingOf([drop, ruleFor(5001, 99), ruleFor(5001, 98), ruleFor(5002, 97)], routes);
  const claims = claimsWith({
    rules: [drop, ruleFor(5001, 99), ruleFor(5003, 90)],
    routes: [
      { family: 4, table: 5001 },
      { family: 4, table: 5003 },
    ],
  });
  t.same(
    removals(NO_ROUTING, listing, claims).map(removal => removal.line),
    [
      'rule del priority 99 fwmark 0x1389/0xffffffff lookup 5001',
      'route del default table 5001',
      'rule del priority 102 fwmark 0x1388/0xffffffff blackhole',
    ],
  );
  t.end();
});

t.test('a default route by another hand in a wanted table is a clash', t => {
  const routes = parseRoutes(4, [{ dst: 'default', gateway: '172.16.0.9', dev: 'x', table: '5044' }]);
  const listing = { ...EMPTY, routes };
  const wanted = wantedRouting(EXAMPLE, listing, NO_CLAIMS);
  t.match(clashes(wanted, listing, NO_CLAIMS), [
    /^IPv4 routing table 5044 already holds a default route via 172.16.0.9 that this daemon did not make/,
  ]);
  t.same(clashes(wanted, listing, claimsWith({ routes: [{ family: 4, table: 5044 }] })), []);
  const { routes: claimed } = claimsOf(wanted, listing, NO_CLAIMS);
  t.notOk(
    claimed.some(({ family, table }) => family === 4 && table === 5044),
    'it is not claimed',
  );
  t.notMatch(removals(wanted, listing, claimsWith({ routes: claimed })), [{ claim: { table: 5044 } }]);
  t.end();
});

t.test(
  'what took the place of our route is replaced; what stands beside it, or leads elsewhere, is a clash',
  t => {
    const only = { ...EXAMPLE, vips: [], egress: [], markRanges: [], targets: [target(44, '172.16.1.6')] };
    const claims = claimsWith({ routes: [{ family: 4, table: 5044 }] });
    const links = [
      { ...prefixOf('172.16.0.0/16'), device: 'wide', isSubnet: true },
      { ...prefixOf('172.16.1.0/24'), device: 'c', isSubnet: true },
    ];
    const ours = { dst: 'default', gateway: '172.16.1.6', dev: 'c', table: '5044' };
    const outcome = (route: object, narrow: RoutingListing['narrow'] = []) => {
      const listing = { ...EMPTY, rules: [], links, narrow, routes: parseRoutes(4, [route as never]) };
      const wanted = wantedRouting(only, listing, claims);
      return {
        added: additions(wanted, listing)
          .map(change => change.line)
          .filter(line => line.startsWith('route')),
        clashing: clashes(wanted, listing, claims).length,
      };
    };
    const mended = { added: ['route replace default via 172.16.1.6 dev c table 5044'], clashing: 0 };
    t.same(outcome(ours), { added: [], clashing: 0 });
    for (const [claim, change] of [
      ['another interface', { dev: 'wide' }],
      ['a path MTU', { metrics: [{ mtu: 900 }] }],
      ['another type', { type: '7', gateway: undefined, dev: undefined }],
      ['another next hop', { gateway: '172.16.1.9' }],
    ] as const)
      t.same(outcome({ ...ours, ...change }), mended, claim);
    t.same(outcome({ ...ours, metric: 5 }).clashing, 1, 'beside ours');
    t.same(outcome({ ...ours, protocol: '4' }).clashing, 1, "in our place, with another's name");
    const narrow = [{ family: 4 as const, table: 5044, destination: '20.0.0.0/24' }];
    t.same(outcome(ours, narrow).clashing, 1, 'more specific than ours');
    t.end();
  },
);

t.test(
  'with markMask, rules ask for our bits, and those of others outside of it are in front and no clash',
  t => {
    const masked: WantedKernel = { ...EXAMPLE, markMask: 0xffff };
    const wanted = wantedRouting(masked, EMPTY, NO_CLAIMS);
    const lines = additions(wanted, EMPTY).map(({ line }) => line);
    t.ok(lines.includes('rule add priority 97 fwmark 0x13b4/0xffff lookup 5044'), lines.join('\n'));
    t.ok(lines.includes('rule add priority 102 fwmark 0x138a/0xfffe blackhole'));
    const found = (...entries: object[]) => {
      const listing = { ...EMPTY, rules: [parseRules(4, entries as never[])] };
      return {
        clashes: clashes(wanted, listing, NO_CLAIMS, masked.markMask),
        inFront: rulesInFront(masked, wanted, listing, NO_CLAIMS),
      };
    };
    const rule = (fwmark: string, fwmask: string) => ({
      priority: 50,
      src: 'all',
      fwmark,
      fwmask,
      table: '7',
    });
    t.match(found(rule('0x1380', '0xff80')).clashes, [/fwmark 0x1380\/0xff80 lookup 7 takes marks of ours/]);
    t.match(
      found(rule('0x41380', '0xfff80')).clashes,
      [/takes marks of ours/],
      'also where it asks for more',
    );
    t.match(found(rule('0x40000', '0xff0000')), {
      clashes: [],
      inFront: [
        /fwmark 0x40000\/0xff0000 lookup 7 takes packets to VIPs, whatever their bits of markMask, before/,
      ],
    });
    const crashed = removals(
      wanted,
      listingOf([ruleFor(5044, 97), ...wanted.rules]),
      claimsWith({ rules: [ruleFor(5044, 97), ...wanted.rules] }),
    );
    t.same(
      crashed.map(({ line }) => line),
      ['rule del priority 97 fwmark 0x13b4/0xffffffff lookup 5044'],
      'the rule without the mask goes, that with it stays',
    );
    const kept = assignPriorities([5044, 5062], [listingOf([ruleFor(5044, 60)]).rules[0]!], () => true);
    t.equal(kept.get(5044), 60, 'a target keeps its priority when the mask changes');
    t.end();
  },
);

t.test('rules by another hand that meet our tables or marks are clashes', t => {
  const wanted = wantedRouting(EXAMPLE, EMPTY, NO_CLAIMS);
  const found = (...entries: object[]) =>
    clashes(wanted, { ...EMPTY, rules: [parseRules(4, entries as never[])] }, NO_CLAIMS);
  t.match(found({ priority: 50, src: '10.0.0.0', srclen: 8, table: '5044' }), [
    /^IPv4 rule 50: lookup 5044 looks up a target's table/,
  ]);
  t.same(found({ priority: 200, src: '10.0.0.1', table: '4096' }), [], 'others may use the gateways');
  t.match(found({ priority: 50, src: 'all', fwmark: '0x1380', fwmask: '0xffffff80', table: '7' }), [
    /^IPv4 rule 50: fwmark 0x1380\/0xffffff80 lookup 7 takes marks of ours before our rules do/,
  ]);
  t.same(
    found({ priority: 103, src: 'all', fwmark: '0x13b4', table: '7' }),
    [],
    'behind ours it takes nothing',
  );
  t.same(found({ priority: 50, src: 'all', fwmark: '0x4000', fwmask: '0x4000', table: '7' }), []);
  t.same(
    found({ priority: 50, src: 'all', table: '7' }),
    [],
    'a rule for all packets is a router, not a clash',
  );
  t.same(
    found({ priority: 60, src: 'all', fwmark: '0x13b4', table: '5044' }).length,
    1,
    'not at our priority',
  );
  t.same(found({ priority: 100, src: '20.0.0.1', table: '4096' }), [], 'just as wanted');
  t.end();
});

t.test(
  'a rule by another hand that takes packets to VIPs in front of ours is told of, whatever its mark',
  t => {
    const found = (entry: object, external: string | null = 'ext-vlan0', claims = NO_CLAIMS) => {
      const kernel = { ...EXAMPLE, interfaces: { ...EXAMPLE.interfaces, external } };
      const wanted = wantedRouting(kernel, EMPTY, claims);
      const rules = [parseRules(4, [...DEFAULTS, { src: 'all', ...entry }] as never[])];
      return rulesInFront(kernel, wanted, { ...EMPTY, rules }, claims);
    };
    t.same(found({ priority: 50, table: '254' }), [
      'IPv4 rule 50: from all lookup main takes packets to VIPs, whatever their mark, before our rules from priority 96 on ' +
        'lead them to their targets: remove it, or give it a priority above 102',
    ]);
    const rows: [string, object, boolean][] = [
      ['behind ours', { priority: 100, table: '254' }, false],
      ['between ours', { priority: 98, table: '254' }, true],
      ['own addresses alone', { priority: 50, table: '255' }, false],
      ['clients of a network', { priority: 50, src: '10.0.0.0', srclen: 8, table: '9' }, true],
      ['one address', { priority: 50, src: '10.0.0.1', table: '9' }, false],
      ['answers', { priority: 50, src: '20.0.0.1', table: '9' }, false],
      ['elsewhere', { priority: 50, dst: '21.0.0.0', dstlen: 8, table: '9' }, false],
      ['to a VIP', { priority: 50, dst: '20.0.0.0', dstlen: 8, action: '6' }, true],
      ['not elsewhere', { priority: 50, not: null, dst: '21.0.0.0', dstlen: 8, table: '9' }, true],
      ['of another mark', { priority: 50, fwmark: '0xca6c', table: '9' }, false],
      ['of all but another mark', { priority: 50, not: null, fwmark: '0xca6c', table: '9' }, true],
      ['of no mark', { priority: 50, fwmark: '0x0', table: '9' }, false],
      ['of any mark', { priority: 50, fwmark: '0x0', fwmask: '0x0', table: '9' }, true],
      ['from the outside', { priority: 50, iif: 'ext-vlan0', table: '9' }, true],
      ['from elsewhere', { priority: 50, iif: 'eth7', table: '9' }, false],
      ['from here', { priority: 50, iif: 'lo', table: '9' }, false],
      ['sockets that are bound', { priority: 50, oif: 'eth7', table: '9' }, false],
      ['passing over ours', { priority: 50, goto: 32766 }, true],
      ['leading nowhere', { priority: 50, goto: 700, unresolved: null }, false],
      ['doing nothing', { priority: 50, nop: null }, false],
      ['without the default route', { priority: 50, table: '254', suppress_prefixlen: 0 }, false],
      ['of one protocol', { priority: 50, ipproto: 'udp', table: '9' }, true],
    ];
    for (const [claim, entry, told] of rows) t.equal(found(entry).length, told ? 1 : 0, claim);
    t.equal(found({ priority: 50, iif: 'eth7', table: '9' }, null).length, 1, 'where no interface is named');
    t.equal(found({ priority: 50, iif: 'lo', table: '9' }, null).length, 0);
    const own = { family: 4, priority: 50, fwmark: null, from: null, to: null, table: 254 } as const;
    t.same(found({ priority: 50, table: '254' }, null, claimsWith({ rules: [own] })), [], 'our own');
    t.same(found({ priority: 50, fwmark: '0xca6c', not: null, table: '9' }).length, 1);
    t.end();
  },
);

t.test('in front of a tree stands what was at its priority before it', t => {
  const targets = Array.from({ length: MOST_LISTED + 1 }, (_, n) => target(5001 + n, `172.16.0.${n + 1}`));
  const kernel = { ...EXAMPLE, targets, markRanges: [{ first: 5001, last: 5100 }] };
  const wanted = wantedRouting(kernel, EMPTY, NO_CLAIMS);
  const entries = wanted.rules.filter(({ priority }) => priority === 1);
  const foreign = { family: 4, priority: 1, fwmark: null, from: null, to: null, table: 254 } as const;
  const found = (...rules: Rule[]) => rulesInFront(kernel, wanted, listingOf(rules), NO_CLAIMS).length;
  t.ok(entries.length > 1);
  t.equal(found(foreign, ...entries), 1);
  t.equal(found(...entries, foreign), 0, 'behind all entries');
  t.equal(found(...entries.slice(1), foreign), 1, 'one entry is still to come, and comes behind it');
  t.equal(found({ ...foreign, priority: 2 }), 0);
  t.equal(found({ ...foreign, priority: 0 }), 1);
  t.end();
});

t.test('a rule that stands by another hand is not claimed', t => {
  const foreign: Rule = {
    family: 4,
    priority: 100,
    fwmark: null,
    from: '20.0.0.1/32',
    to: null,
    table: 4096,
  };
  const listing = listingOf([foreign]);
  const wanted = wantedRouting(EXAMPLE, listing, NO_CLAIMS);
  t.notOk(claimsOf(wanted, listing, NO_CLAIMS).rules.some(rule => rule.priority === 100));
  t.end();
});

t.test('a rule of another form counts as a priority, never as ours', t => {
  const listing = parseRules(4, [
    { priority: 99, src: 'all', fwmark: '0x13b4', table: '5044', iif: 'lo' } as never,
    { priority: 98, src: 'all', action: '8' },
    { priority: 97, src: '10.0.0.0', srclen: 8, fwmark: '0x1380', fwmask: '0xffffff80', action: 'blackhole' },
  ]);
  t.same(
    listing.all.map(({ priority }) => priority),
    [99, 98, 97],
  );
  t.same(listing.rules, [
    {
      family: 4,
      priority: 97,
      fwmark: { value: 0x1380, mask: 0xffffff80 },
      from: '10.0.0.0/8',
      to: null,
      table: null,
    },
  ]);
  t.end();
});

t.test('failed lines of a batch are told with their words', t => {
  const stderr =
    'Error: Nexthop has invalid gateway.\nCommand failed -:10\nRTNETLINK answers: File exists\nCommand failed -:12\n';
  t.same(
    [...parseFailures(stderr)],
    [
      [9, 'Error: Nexthop has invalid gateway.'],
      [11, 'RTNETLINK answers: File exists'],
    ],
  );
  t.end();
});

t.test(
  'a long batch goes in pieces of their own bound, in order, and each failure keeps its line',
  async t => {
    const lines = Array.from({ length: 1201 }, (_, index) => `line ${index}`);
    const pieces: string[][] = [];
    const run: Run = async (_program, _args, options) => {
      t.equal(options?.boundMs, 60_000);
      const piece = options!.input!.trimEnd().split('\n');
      pieces.push(piece);
      return { exitCode: 1, stdout: '', stderr: `why ${piece[0]}\nCommand failed -:1\n` };
    };
    t.same(
      [...(await runBatch(run, 4, lines))],
      [
        [0, 'why line 0'],
        [500, 'why line 500'],
        [1000, 'why line 1000'],
      ],
    );
    t.same(pieces.flat(), lines);
  },
);

t.test('only addresses that have a neighbour entry are flushed, however they are spelled', async t => {
  const commands: string[] = [];
  const run: Run = async (_program, args, options) => {
    commands.push(`${args.join(' ')} ${options?.input ?? ''}`.trim());
    const stdout = args.includes('-j') ? JSON.stringify([{ dst: 'fd00::6', dev: 'x' }]) : '';
    return { exitCode: 0, stdout, stderr: '' };
  };
  const hosts = ['fd00::5', 'fd00:0:0:0::6'].map(address => ({ family: 6 as const, address }));
  const listed = await listNeighbours(run, [6]);
  t.same(await flushNeighbours(run, hosts, listed), []);
  t.same(commands, ['-N -j -6 -batch - neigh', '-6 -force -batch - neigh flush to fd00:0:0:0::6']);
  t.same(await flushNeighbours(run, [], listed), []);
  t.equal(commands.length, 2, 'with nothing added nothing is flushed');
});

t.test('states of neighbours: whom the kernel sends to, whom it waits for, who failed', async t => {
  const entries = [
    { dst: '10.0.0.1', dev: 'a', state: ['REACHABLE'] },
    { dst: '10.0.0.2', dev: 'a', state: ['STALE'] },
    { dst: '10.0.0.3', dev: 'a', state: ['FAILED'] },
    { dst: '10.0.0.4', dev: 'a', state: ['INCOMPLETE'] },
    { dst: '10.0.0.5', dev: 'a', state: ['PERMANENT'] },
    { dst: '10.0.0.6', dev: 'a' },
  ];
  const run: Run = async () => ({ exitCode: 0, stdout: JSON.stringify(entries), stderr: '' });
  const states = await listNeighbours(run, [4]);
  t.same(
    entries.map(({ dst, dev }) => states.get(neighbourKey({ address: dst, device: dev }))),
    ['valid', 'valid', 'failed', 'resolving', 'valid', 'resolving'],
  );
});
