/** The rendered ruleset, comparison with a listing, both carriers; no root needed. */
import t from 'tap';
import { type MangleRule, NFT_CARRIER, probeCarrier, XTABLES_CARRIER } from '../../host/kernel/carrier.js';
import { parseMangleRules, renderMangle } from '../../host/kernel/mangle.js';
import { renderTables } from '../../host/kernel/nft.js';
import { differenceOf, isEmptyMangle } from '../../host/kernel/nft-listing.js';
import {
  frameObjects,
  mendCommands,
  type NftContents,
  type NftDifference,
  replaceCommands,
  ruleObjects,
} from '../../host/kernel/nft-table.js';
import type { CommandResult, Run } from '../../host/programs/command.js';
import { WHOLE_MARK } from '../../host/types/marks.js';
import { EXAMPLE } from './example.js';

type Listed = Record<string, Record<string, unknown>>;

const markOf = (value: number, mask = WHOLE_MARK) => ({ value, mask });
const inTable = (table: string) => ({ family: 'inet', table });
const match = (left: unknown, right: string | number, op = '==') => ({ match: { op, left, right } });
const COUNTER = { counter: { packets: 0, bytes: 0 } };
const QUEUE = { queue: { num: { range: [0, 3] } } };
const V4 = match({ payload: { protocol: 'ip', field: 'daddr' } }, '@ipv4-vips');
const V6 = match({ payload: { protocol: 'ip6', field: 'daddr' } }, '@ipv6-vips');
const L4 = { meta: { key: 'l4proto' } };
const IIFNAME = { meta: { key: 'iifname' } };
const STATE = { ct: { key: 'state' } };
const NONE: NftContents = { chains: [], sets: [] };
const SAME: NftDifference = { missing: NONE, changed: NONE, surplus: { chains: [], sets: [] } };

t.test('carrier nft renders the reference ruleset', t => {
  const [nfqlb, nat, defrag] = renderTables(EXAMPLE, NFT_CARRIER);
  const q = inTable('meridio-nfqlb');
  const base = { type: 'filter', policy: 'accept' };
  t.same(replaceCommands(nfqlb!), [
    { add: { table: { family: 'inet', name: 'meridio-nfqlb' } } },
    { delete: { table: { family: 'inet', name: 'meridio-nfqlb' } } },
    { add: { table: { family: 'inet', name: 'meridio-nfqlb' } } },
    { add: { set: { ...q, name: 'ipv4-vips', type: 'ipv4_addr', flags: ['interval'] } } },
    { add: { set: { ...q, name: 'ipv6-vips', type: 'ipv6_addr', flags: ['interval'] } } },
    { add: { chain: { ...q, ...base, name: 'nfqlb', hook: 'prerouting', prio: 0 } } },
    { add: { chain: { ...q, ...base, name: 'nfqlb-local', hook: 'output', prio: 0 } } },
    { add: { rule: { ...q, chain: 'nfqlb', expr: [V4, COUNTER, QUEUE] } } },
    { add: { rule: { ...q, chain: 'nfqlb', expr: [V6, COUNTER, QUEUE] } } },
    {
      add: {
        rule: { ...q, chain: 'nfqlb-local', expr: [match(L4, 1), V4, COUNTER, QUEUE] },
      },
    },
    {
      add: {
        rule: { ...q, chain: 'nfqlb-local', expr: [match(L4, 58), V6, COUNTER, QUEUE] },
      },
    },
    { add: { element: { ...q, name: 'ipv4-vips', elem: ['20.0.0.1'] } } },
    { add: { element: { ...q, name: 'ipv6-vips', elem: ['2000::1'] } } },
  ]);
  const d = inTable('meridio-defrag');
  t.same(
    [...frameObjects(defrag!), ...ruleObjects(defrag!)],
    [
      { table: { family: 'inet', name: 'meridio-defrag' } },
      { chain: { ...d, ...base, name: 'pre-defrag', hook: 'prerouting', prio: -500 } },
      { chain: { ...d, ...base, name: 'in', hook: 'prerouting', prio: -300 } },
      { chain: { ...d, ...base, name: 'out', hook: 'output', prio: -300 } },
      { rule: { ...d, chain: 'pre-defrag', expr: [match(IIFNAME, 'conduit-a-*'), { notrack: null }] } },
      { rule: { ...d, chain: 'in', expr: [{ notrack: null }] } },
      { rule: { ...d, chain: 'in', expr: [match(STATE, 'untracked', 'in'), { accept: null }] } },
      { rule: { ...d, chain: 'out', expr: [{ notrack: null }] } },
    ],
  );
  t.same(frameObjects(nat!), [{ table: { family: 'inet', name: 'meridio-nat' } }]);
  t.end();
});

t.test('one queue is a number, several are a range; xtables has its own words for both', t => {
  t.same(NFT_CARRIER.steer({ first: 2, last: 2 }, markOf(0x1000)), { queue: { num: 2 } });
  t.same(XTABLES_CARRIER.mangleRules({ first: 2, last: 2 }, markOf(0x1000))[0], {
    chain: 'PREROUTING',
    text: '-m mark --mark 0x1000/0x107f -j NFQUEUE --queue-num 2',
  });
  t.same(XTABLES_CARRIER.mangleRules({ first: 0, last: 3 }, markOf(0x1000))[1], {
    chain: 'OUTPUT',
    text: '-m mark --mark 0x1000 -j NFQUEUE --queue-balance 0:3',
  });
  t.same(
    XTABLES_CARRIER.mangleRules({ first: 2, last: 2 }, markOf(0x20002)).map(({ text }) => text.split(' ')[3]),
    ['0x20002/0x2107f', '0x20002'],
    'all bits of a mark that is configured are compared',
  );
  t.same(
    XTABLES_CARRIER.mangleRules({ first: 2, last: 2 }, markOf(0x1000, 0x1ff0)).map(
      ({ text }) => text.split(' ')[3],
    ),
    ['0x1000/0x1070', '0x1000/0x1ff0'],
    'bits of markMask alone',
  );
  t.same(NFT_CARRIER.mangleRules({ first: 0, last: 3 }, markOf(0x1000)), []);
  t.end();
});

t.test('without internal interfaces nothing is exempt, without VIPs the sets are empty', t => {
  const bare = { ...EXAMPLE, vips: [], interfaces: { external: null, internal: [] } };
  const [, , tracked] = renderTables({ ...bare, fragments: 'track' }, XTABLES_CARRIER);
  t.same(tracked?.chains[1]?.rules, [[{ notrack: null }]], 'fragments that are tracked come as they are');
  const [nfqlb, , defrag] = renderTables(bare, XTABLES_CARRIER);
  t.same(defrag?.chains[0]?.rules, []);
  t.same(mendCommands(nfqlb!.name, { ...SAME, changed: { ...NONE, sets: nfqlb!.sets } }, true), [
    { flush: { set: { ...inTable('meridio-nfqlb'), name: 'ipv4-vips' } } },
    { flush: { set: { ...inTable('meridio-nfqlb'), name: 'ipv6-vips' } } },
  ]);
  t.end();
});

t.test('differences between a listing and the wanted table', t => {
  const table = renderTables(EXAMPLE, XTABLES_CARRIER)[0]!;
  // As the kernel lists it: handles, counts, elements inside their set, another spelling.
  const listed = (elem: unknown[] = ['20.0.0.1'], flags: unknown = ['interval']): Listed[] =>
    (structuredClone([...frameObjects(table), ...ruleObjects(table)]) as Listed[]).map((object, index) => {
      const [kind, fields] = Object.entries(object)[0]!;
      const extra =
        fields.name === 'ipv4-vips'
          ? { elem, flags }
          : fields.name === 'ipv6-vips'
            ? { elem: ['2000:0::1'] }
            : {};
      const expr = JSON.parse(JSON.stringify(fields.expr ?? []).replace('"packets":0', '"packets":17'));
      return { [kind]: { ...fields, ...extra, ...(kind === 'rule' ? { expr } : {}), handle: index } };
    });
  const turned = (first: number): Listed[] => {
    const objects = listed();
    return [...objects.slice(0, first), objects[first + 1]!, objects[first]!, ...objects.slice(first + 2)];
  };
  const differing = (objects: Listed[]): string => {
    const difference = differenceOf(objects, table);
    if (difference === 'beyond repair') return difference;
    const { missing, changed, surplus } = difference;
    const names = (sign: string, { chains, sets }: NftContents): string[] =>
      [...chains, ...sets].map(({ name }) => sign + name);
    const alien = surplus.chains.map(({ name, empty, harmless }) => `!${name} ${empty} ${harmless}`);
    const odd = surplus.sets.map(name => `!${name}`);
    return [...names('+', missing), ...names('', changed), ...alien, ...odd].join();
  };
  t.equal(differing(listed()), '', 'handles, counts and spelling do not differ');
  const protocols = { 1: 'icmp', 58: 'ipv6-icmp' };
  const withNames = JSON.parse(
    JSON.stringify(listed()).replace(
      /"right":(1|58)\b/g,
      (_, number: 1 | 58) => `"right":"${protocols[number]}"`,
    ),
  );
  t.match(JSON.stringify(withNames), /"right":"ipv6-icmp"/);
  t.equal(differing(withNames), '', 'protocols have their names where /etc/protocols has them');
  t.equal(differing(turned(3)), '', 'chains have no order');
  t.equal(differing(turned(5)), 'nfqlb', 'rules have');
  t.equal(differing(listed().slice(0, -1)), 'nfqlb-local', 'a rule is missing');
  for (const elem of [
    [],
    ['20.0.0.2'],
    [{ range: ['20.0.0.1', '20.0.0.2'] }],
    [{ elem: { val: '20.0.0.1' } }],
  ]) {
    t.equal(differing(listed(elem)), 'ipv4-vips', JSON.stringify(elem));
  }
  t.equal(differing([]), 'beyond repair', 'no table');
  t.equal(differing(listed().filter(({ chain }) => chain?.name !== 'nfqlb')), '+nfqlb', 'no chain');
  const place = inTable(table.name);
  const other = { chain: { ...place, name: 'other', hook: 'input', policy: 'accept' } };
  t.equal(differing([...listed(), other]), '!other true true', 'one chain more');
  const rule = { rule: { ...place, chain: 'other', expr: [] } };
  t.equal(differing([...listed(), other, rule]), '!other false true', 'with a rule');
  const hard = { chain: { ...other.chain, policy: 'drop' } };
  t.equal(differing([...listed(), hard]), '!other true false', 'that drops');
  t.equal(differing([...listed(), { set: { ...place, name: 's' } }]), '!s', 'one set more');
  t.equal(differing([...listed(), { map: { ...place, name: 'm' } }]), 'beyond repair', 'a map');
  const later = listed().map(({ chain, ...rest }) => (chain ? { chain: { ...chain, prio: 7 } } : rest));
  t.equal(differing(later as Listed[]), 'beyond repair', 'another priority');
  const rules = [{ comment: 'a', statements: [] }];
  const named = { name: table.name, chains: [{ name: 'c', hook: null, rules }], sets: [] };
  const odd = (comment: string): Listed[] => [
    { table: { family: 'inet', name: table.name } },
    { chain: { ...place, name: 'c' } },
    { rule: { ...place, chain: 'c', comment, expr: ['in other words'] } },
  ];
  t.same(differenceOf(odd('a'), named), SAME, 'a comment stands for its statements');
  t.match(differenceOf(odd('b'), named), { changed: { chains: [{ name: 'c' }] } });
  t.equal(differing(listed(['20.0.0.1'], 'interval')), '', 'newer versions of nft print one flag as text');
  t.end();
});

t.test('rules are filled in anew behind the flush of their own chain alone', t => {
  const table = renderTables(EXAMPLE, NFT_CARRIER)[2]!;
  const chains = table.chains.filter(chain => chain.name === 'pre-defrag');
  const place = inTable('meridio-defrag');
  const expr = [match(IIFNAME, 'conduit-a-*'), { notrack: null }];
  t.same(mendCommands(table.name, { ...SAME, changed: { ...NONE, chains } }, true), [
    { flush: { chain: { ...place, name: 'pre-defrag' } } },
    { add: { rule: { ...place, chain: 'pre-defrag', expr } } },
  ]);
  t.same(mendCommands(table.name, SAME, true), []);
  t.end();
});

t.test('what is not wanted goes behind its rules; what had a hook and does nothing may stay', t => {
  const place = inTable('meridio-nat');
  const surplus: NftDifference['surplus'] = {
    chains: [
      { name: 'a', empty: true, harmless: true },
      { name: 'b', empty: false, harmless: true },
      { name: 'c', empty: false, harmless: false },
    ],
    sets: ['s'],
  };
  const flushed = ['b', 'c'].map(name => ({ flush: { chain: { ...place, name } } }));
  const removed = (...names: string[]) => names.map(name => ({ delete: { chain: { ...place, name } } }));
  const set = { delete: { set: { ...place, name: 's' } } };
  t.same(mendCommands('meridio-nat', { ...SAME, surplus }, true), [...flushed, ...removed('c'), set]);
  t.same(mendCommands('meridio-nat', { ...SAME, surplus }, false), [
    ...flushed,
    ...removed('a', 'b', 'c'),
    set,
  ]);
  t.end();
});

t.test('what is missing is made before its rules and elements are filled in', t => {
  const { chains, sets } = renderTables(EXAMPLE, NFT_CARRIER)[0]!;
  const place = inTable('meridio-nfqlb');
  const missing = { chains: chains.slice(0, 1), sets: sets.slice(0, 1) };
  t.same(mendCommands('meridio-nfqlb', { ...SAME, missing }, true), [
    { add: { set: { ...place, name: 'ipv4-vips', type: 'ipv4_addr', flags: ['interval'] } } },
    {
      add: {
        chain: { ...place, name: 'nfqlb', type: 'filter', hook: 'prerouting', prio: 0, policy: 'accept' },
      },
    },
    { add: { rule: { ...place, chain: 'nfqlb', expr: [V4, COUNTER, QUEUE] } } },
    { add: { rule: { ...place, chain: 'nfqlb', expr: [V6, COUNTER, QUEUE] } } },
    { add: { element: { ...place, name: 'ipv4-vips', elem: ['20.0.0.1'] } } },
  ]);
  t.end();
});

t.test('mangle rules: new ones come in before old ones go, doubles are removed', t => {
  const wanted = XTABLES_CARRIER.mangleRules({ first: 0, last: 3 }, markOf(0x1000));
  const [{ text: incoming }, { text }] = wanted as [MangleRule, MangleRule];
  const saved = [
    '*mangle',
    ':PREROUTING ACCEPT [0:0]',
    '-A PREROUTING -j ACCEPT',
    '-A PREROUTING -m mark --mark 0x2000/0x2000 -j NFQUEUE --queue-num 7',
    '-A PREROUTING -m mark --mark 0x4d61676d -j NFQUEUE --queue-num 7',
    `-A OUTPUT ${text}`,
    `-A OUTPUT ${text}`,
    'COMMIT',
  ].join('\n');
  t.equal(
    renderMangle(parseMangleRules(saved)!, wanted),
    `*mangle\n-I PREROUTING ${incoming}\n` +
      `-D PREROUTING -m mark --mark 0x4d61676d -j NFQUEUE --queue-num 7\n-D OUTPUT ${text}\nCOMMIT\n`,
  );
  t.equal(renderMangle(wanted, wanted), null);
  t.equal(renderMangle([], []), null);
  t.end();
});

t.test('a mangle table is empty without rules and chains of others', t => {
  const table = { table: { family: 'ip', name: 'mangle' } };
  t.ok(isEmptyMangle([table, { chain: { name: 'OUTPUT' } }]));
  t.notOk(isEmptyMangle([table, { chain: { name: 'mine' } }]));
  t.notOk(isEmptyMangle([table, { rule: { chain: 'OUTPUT' } }]));
  t.end();
});

t.test('the carrier is what the kernel takes, and its refusals are told', async t => {
  const answers = (nft: Partial<CommandResult>, xtables: Partial<CommandResult>): Run => {
    return async program => {
      const answer = program === 'nft' ? nft : xtables;
      return { exitCode: 0, stdout: '', stderr: '', ...answer };
    };
  };
  const no = { exitCode: 1, stderr: 'internal:0:0-0: Error: No such file or directory\n' };
  const warned = { stderr: 'Warning: Extension NFQUEUE revision 0 not supported, missing kernel module?\n' };
  t.equal((await probeCarrier(answers({}, {}))).name, 'nft');
  t.equal((await probeCarrier(answers(no, {}))).name, 'xtables');
  await t.rejects(probeCarrier(answers(no, warned)), {
    code: 'ENVIRONMENT',
    message: /nftables queue: .*No such file or directory; xtables NFQUEUE: .*not supported/,
  });
});
