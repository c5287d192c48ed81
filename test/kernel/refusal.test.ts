/** What a program refuses, cuts off or does not print is never read as "nothing is there". No root needed. */
import t from 'tap';
import { hostAddresses } from '../../host/daemon/namespace.js';
import { NFT_CARRIER, XTABLES_CARRIER } from '../../host/kernel/carrier.js';
import { checkSaved } from '../../host/kernel/legacy.js';
import { listAll, RULES } from '../../host/kernel/listing.js';
import { applyMangle, clearMangle, listMangle, parseMangleRules } from '../../host/kernel/mangle.js';
import { ipEvent, nftEvent } from '../../host/kernel/monitor.js';
import { listNeighbours } from '../../host/kernel/neighbour.js';
import { renderTables } from '../../host/kernel/nft.js';
import { listObjects, listTables } from '../../host/kernel/nft-list.js';
import { listRouting } from '../../host/kernel/routing-apply.js';
import { applyTables } from '../../host/kernel/ruleset.js';
import { listTrackingRules } from '../../host/kernel/tracking.js';
import type { CommandResult, Run } from '../../host/programs/command.js';
import { KernelError } from '../../host/types/errors.js';
import { EXAMPLE } from './example.js';

const METAINFO = { metainfo: { version: '1.0.6', json_schema_version: 1 } };
const listingOf = (...objects: object[]) => JSON.stringify({ nftables: [METAINFO, ...objects] });
const TABLE = { table: { family: 'inet', name: 'meridio-nfqlb', handle: 1 } };
const MISSING = 'Error: No such file or directory\nlist table inet meridio-nfqlb\n';

/** Answers every program with the same, and keeps what was run. */
function answering(result: Partial<CommandResult>): { run: Run; lines: string[] } {
  const lines: string[] = [];
  const answer = { exitCode: 0, stdout: '', stderr: '', ...result };
  const run: Run = async (program, args, options) => {
    lines.push([program, ...args].join(' '));
    if (answer.exitCode !== 0 && options?.allowFailure !== true)
      throw new KernelError(`${program}: exit code ${answer.exitCode}: ${answer.stderr}`);
    return answer;
  };
  return { run, lines };
}

/** What a program may print in place of JSON. */
const BROKEN: Readonly<Record<string, Partial<CommandResult>>> = {
  nothing: {},
  'a refusal with exit code 0': { stdout: '# it is incompatible, use another tool.\n' },
  'JSON that is cut off': { stdout: '[{"priority":0,"src":"all","table":"255"},{"prio' },
  'another kind of JSON': { stdout: '{"error":"busy"}\n' },
  'a list of something else': { stdout: '["a", null]\n' },
  'a failure': { exitCode: 2, stderr: 'Cannot send dump request: Message too long\n' },
  'a dump that is interrupted each time': {
    stdout: '[]\n',
    stderr: 'Dump was interrupted and may be inconsistent.\n',
  },
};

t.test('listings of ip', async t => {
  for (const [what, result] of Object.entries(BROKEN)) {
    const { run } = answering(result);
    await t.rejects(listAll(run, 4, [RULES]), KernelError, `rules: ${what}`);
    await t.rejects(listNeighbours(run, [4, 6]), KernelError, `neighbours: ${what}`);
    await t.rejects(listRouting(run, [4], [4], []), KernelError, `rules and routes: ${what}`);
    await t.rejects(hostAddresses(run), KernelError, `addresses: ${what}`);
  }
  await t.rejects(
    hostAddresses(answering({ stdout: '[]' }).run),
    /it lists no interface/,
    'lo is always there',
  );
  t.same(await listAll(answering({ stdout: '[]\n' }).run, 4, [RULES]), [[]], 'an empty list is one');
});

t.test('a dump that was interrupted is asked for again', async t => {
  let count = 0;
  const run: Run = async () => {
    const stderr = count++ === 0 ? 'Dump was interrupted and may be inconsistent.\n' : '';
    return {
      exitCode: 0,
      stdout: count === 1 ? '[]\n' : '[{"priority":0,"src":"all","table":"255"}]\n',
      stderr,
    };
  };
  t.match(await listAll(run, 4, [RULES]), [[{ priority: 0 }]]);
});

t.test('listings of nft', async t => {
  const of = ['table', 'inet', 'meridio-nfqlb'];
  for (const [what, result] of Object.entries(BROKEN)) {
    if (result.stdout === '[]\n') continue;
    await t.rejects(listObjects(answering(result).run, of), KernelError, `a table: ${what}`);
  }
  for (const [what, stdout] of [
    ['no frame', '{"nftables": [{"table": {"name": "meridio-nfqlb"}}]}'],
    ['nothing in it', listingOf()],
    ['another table', listingOf({ table: { name: 'other' } })],
    ['cut off', listingOf(TABLE).slice(0, -9)],
  ] as const) {
    await t.rejects(listObjects(answering({ stdout }).run, of), KernelError, what);
  }
  for (const stderr of ['Error: Operation not permitted', 'Error: No buffer space available', ''])
    await t.rejects(listObjects(answering({ exitCode: 1, stderr }).run, of), /exit code 1/, stderr);
  t.equal(await listObjects(answering({ exitCode: 1, stderr: MISSING }).run, of), null, "nft's own words");
  t.same(await listObjects(answering({ stdout: listingOf(TABLE) }).run, of), [TABLE]);
  for (const stdout of ['error: busy\n', 'table inet\n', 'table inet a\ntable ine'])
    await t.rejects(listTables(answering({ stdout }).run), /nft list tables: not a table/, stdout);
  t.same([...(await listTables(answering({ stdout: '# a remark\ntable inet a\n' }).run))], ['inet a']);
});

t.test('tables that cannot be listed are not made anew', async t => {
  const tables = renderTables(EXAMPLE, NFT_CARRIER);
  const listed = new Set(tables.map(({ name }) => `inet ${name}`));
  for (const [what, result] of Object.entries(BROKEN)) {
    const { run, lines } = answering(result);
    await t.rejects(applyTables(run, tables, listed, true), KernelError, what);
    t.notOk(
      lines.some(line => line.includes(' -f ')),
      `${what}: nothing was changed`,
    );
  }
});

t.test('listings of iptables', async t => {
  t.equal(parseMangleRules("# Table `mangle' is incompatible, use 'nft' tool.\n"), null);
  t.equal(parseMangleRules(''), null);
  t.equal(parseMangleRules('*mangle\n:PREROUTING ACCEPT [0:0]\n'), null, 'cut off');
  t.same(parseMangleRules('*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n'), []);
  const wanted = XTABLES_CARRIER.mangleRules({ first: 0, last: 3 }, { value: 0x1000, mask: 0xffffffff });
  for (const [what, result] of Object.entries(BROKEN)) {
    const { run, lines } = answering(result);
    await t.rejects(listMangle(run, 4, wanted), KernelError, what);
    await t.rejects(clearMangle(run, 4), KernelError, `${what}, at the stop`);
    t.notOk(
      lines.some(line => line.includes('restore')),
      `${what}: nothing was added`,
    );
  }
});

t.test('what iptables-nft took and never lists is added once, and is an error', async t => {
  let added = 0;
  const run: Run = async (program, args, options) => {
    const result = { exitCode: 0, stdout: '', stderr: '' };
    if (program === 'iptables-nft-restore') added += options!.input!.match(/^-I PREROUTING/gm)?.length ?? 0;
    if (program.endsWith('-save')) return { ...result, stdout: '*mangle\nCOMMIT\n' };
    const chain = { family: 'ip', table: 'mangle', name: args.at(-1) };
    return args.includes('list') ? { ...result, stdout: listingOf({ chain }) } : result;
  };
  const wanted = XTABLES_CARRIER.mangleRules({ first: 0, last: 3 }, { value: 0x1000, mask: 0xffffffff });
  const listed = await listMangle(run, 4, wanted);
  await t.rejects(
    applyMangle(run, 4, wanted, listed),
    /table ip mangle: .* wanted "PREROUTING .* listed none/,
  );
  t.ok(added <= 2, `${added} rules`);
});

t.test('rulesets that are looked through for connection tracking', async t => {
  for (const stdout of ['table inet a {\n\tchain b {\n', 'busy\n', '\tchain b {\n\t}\n}\n'])
    await t.rejects(listTrackingRules(answering({ stdout }).run), /not a whole ruleset/, stdout);
  for (const saved of ['', '*raw\n-A PREROUTING -j CT\n', '# refused\n'])
    t.throws(() => checkSaved(saved, 'iptables-legacy'), /not a whole listing/, saved);
});

t.test('lines of monitors that say nothing are no events, and break nothing', t => {
  for (const line of [
    '',
    ' ',
    'x dev y REACHABLE',
    '10.0.0.300 dev v0 FAILED',
    'Deleted',
    '# refused',
    '\u0000',
  ])
    t.equal(ipEvent(line), null, JSON.stringify(line));
  for (const line of ['', 'add', 'delete table', '{"nftables"']) t.equal(nftEvent(line), null);
  t.end();
});
