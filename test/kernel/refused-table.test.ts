/** Tables that nft refuses, as a version of it does that does not know a rule: the others are applied all the same. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kernel } from '../../host/kernel/kernel.js';
import type { WantedKernel } from '../../host/kernel/wanted.js';
import { type Run, run as realRun } from '../../host/programs/command.js';
import { EXAMPLE } from './example.js';
import { insideNamespace, makeInterfaces, shell } from './namespace.js';

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  makeInterfaces();
  const directory = mkdtempSync(join(tmpdir(), 'magmark-refused-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const log = { info: () => undefined, warn: () => undefined };
  const identity = { bootId: 'boot', cookie: '1' };
  /** What nft refuses now, of its input; null: nothing. */
  let refuses: RegExp | null = null;
  let transactions = 0;
  const run: Run = async (program, args, options = {}) => {
    const { input = '' } = options;
    if (program !== 'nft' || !args.includes('-f')) return realRun(program, args, options);
    if (!args.includes('-c')) transactions++;
    if (refuses?.test(input) !== true) return realRun(program, args, options);
    return { exitCode: 1, stdout: '', stderr: 'internal:0:0-0: Error: datatype mismatch\n\n' };
  };
  const open = () => Kernel.open({ journalPath: join(directory, 'journal.json'), identity, log, run });
  const tables = () =>
    shell('nft list tables')
      .trim()
      .split('\n')
      .filter(name => name.includes('meridio'));
  const nats: WantedKernel = {
    ...EXAMPLE,
    portNats: [{ port: 80, targetPort: 8080, protocol: 'tcp', vips: EXAMPLE.vips }],
  };

  t.test('an optional table that is refused is left out, with a warning that names it', async t => {
    refuses = /"base":"nh"/;
    const kernel = await open();
    await kernel.applyRuleset(EXAMPLE, { unlessAsLast: true });
    t.strictSame(
      tables(),
      ['nfqlb', 'nat', 'defrag', 'nat-errors'].map(name => `table inet meridio-${name}`),
    );
    t.match(
      shell('nft list table inet meridio-nfqlb'),
      /ip daddr @ipv4-vips counter/,
      'and traffic is steered',
    );
    const [warning, ...more] = kernel.rulesetWarnings;
    t.strictSame(more, []);
    t.match(
      warning,
      /^nft refuses table inet meridio-snat-local, chain snat-local, rule 1: datatype mismatch\. Without this table clients do not get/,
    );
    t.match(
      warning,
      /nftables v\d\S* .* is installed, nft \S+ to \S+ is tested: install one of these\. The next reload/,
    );

    const before = transactions;
    t.strictSame(await kernel.applyRuleset(EXAMPLE), [], 'a check repairs nothing');
    t.equal(transactions, before, 'and does not try it again');
    t.strictSame(kernel.rulesetWarnings, [warning]);
    await kernel.applyRuleset(EXAMPLE, { unlessAsLast: true });
    t.ok(transactions > before, 'a reload does');
    t.strictSame(kernel.rulesetWarnings, [warning]);

    refuses = null;
    const made = ['meridio-snat-local', 'meridio-nat-errors', 'magmark-guard'].map(
      name => `table inet ${name}`,
    );
    t.strictSame(await kernel.applyRuleset(EXAMPLE, { unlessAsLast: true }), made, 'tables have an order');
    t.strictSame(kernel.rulesetWarnings, []);
    await kernel.removeRuleset();
  });

  t.test('a guard that is refused is missed by a warning alone, also when marks change', async t => {
    refuses = /"hook":"forward"/;
    const kernel = await open();
    await kernel.applyRuleset(EXAMPLE, { unlessAsLast: true });
    t.match(kernel.rulesetWarnings, [/magmark-guard: .*none of our marks are forwarded/]);
    t.equal(await kernel.readGuard(), null);
    const others: WantedKernel = { ...EXAMPLE, targets: [], markRanges: [{ first: 9001, last: 9002 }] };
    await kernel.add(others);
    await kernel.applyRuleset(others, { unlessAsLast: true, keepsMarks: true });
    await kernel.removeStale(others);
    refuses = null;
    await kernel.applyRuleset(others, { unlessAsLast: true });
    t.match(shell('nft list set inet magmark-guard marks'), /0x00002329-0x0000232a/);
    t.strictSame(kernel.rulesetWarnings, []);
    await kernel.removeAll();
  });

  t.test('both optional tables may be refused', async t => {
    refuses = /"name":"(snat-local|ports)"/;
    const kernel = await open();
    await kernel.applyRuleset(nats, { unlessAsLast: true });
    t.strictSame(
      tables(),
      ['nfqlb', 'nat', 'defrag'].map(name => `table inet meridio-${name}`),
    );
    t.match(kernel.rulesetWarnings, [
      /meridio-snat-local: datatype mismatch/,
      /meridio-nat-errors: .*wrong port/,
    ]);
    refuses = null;
    await kernel.removeRuleset();
  });

  t.test(
    'another table that is refused is an error that names table, rule and key; nothing is changed',
    async t => {
      refuses = null;
      const kernel = await open();
      await kernel.applyRuleset(EXAMPLE, { unlessAsLast: true });
      const former = shell('nft -a list ruleset');
      refuses = /"field":"sport"/;
      await t.rejects(kernel.applyRuleset(nats, { unlessAsLast: true }), {
        code: 'KERNEL_REFUSED',
        message:
          /^nft refuses table inet meridio-nat, chain 80-8080-TCP, rule 2: datatype mismatch\. nftables .*, or remove portNats from the configuration$/,
      });
      t.equal(shell('nft -a list ruleset'), former);
      t.strictSame(kernel.rulesetWarnings, []);
      refuses = null;
      await kernel.removeRuleset();
    },
  );
}
