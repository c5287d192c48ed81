/** The ruleset as text: nft loads it, and the kernel then holds the same as by the commands that were applied. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NFT_CARRIER, XTABLES_CARRIER } from '../../host/kernel/carrier.js';
import { renderTables } from '../../host/kernel/nft.js';
import { replaceCommands } from '../../host/kernel/nft-table.js';
import { rulesetText } from '../../host/kernel/ruleset-text.js';
import type { WantedKernel } from '../../host/kernel/wanted.js';
import { hexadecimal, WHOLE_MARK } from '../../host/types/marks.js';
import { EXAMPLE } from './example.js';
import { insideNamespace, shell } from './namespace.js';

const REFERENCE = new URL('../../../test/vm/reference-ruleset.txt', import.meta.url);

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  const directory = mkdtempSync(join(tmpdir(), 'magmark-text-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'ruleset');

  t.test("it begins with the reference document's tables, as they read there", t => {
    const reference = readFileSync(REFERENCE, 'utf8').replace(/ {8}/g, '\t');
    const text = rulesetText(renderTables(EXAMPLE, NFT_CARRIER));
    t.equal(text.slice(0, reference.length), reference);
    t.end();
  });

  const vips = [...EXAMPLE.vips, { family: 4, address: '20.0.1.0', length: 24 }] as const;
  const wanted: WantedKernel = {
    ...EXAMPLE,
    vips,
    interfaces: { external: 'ext0', internal: ['conduit-*'] },
    unmatchedMarks: [77],
    markRanges: [
      { first: 8192, last: 16383 },
      { first: 7, last: 7 },
    ],
    portNats: (['tcp', 'udp', 'sctp'] as const).map(protocol => ({
      port: 80,
      targetPort: 8080,
      protocol,
      vips,
    })),
  };

  for (const [fragments, markMask] of [
    ['kernel', WHOLE_MARK],
    ['track', WHOLE_MARK],
    ['kernel', 0xffff],
  ] as const) {
    const mask = hexadecimal(markMask);
    t.test(`nft -f makes of it what was applied; fragments: ${fragments}, markMask: ${mask}`, t => {
      const tables = renderTables({ ...wanted, fragments, markMask }, XTABLES_CARRIER);
      // What the kernel was sent, since a listing does not tell raw writes from others.
      const sent = (command: string) =>
        shell(`nft --debug=netlink ${command}; nft flush ruleset`).replaceAll('nat-80', '80');
      writeFileSync(file, JSON.stringify({ nftables: tables.flatMap(replaceCommands) }));
      const applied = instructions(sent(`-j -f ${file}`));
      writeFileSync(file, rulesetText(tables));
      t.same(instructions(sent(`-f ${file}`)), applied);
      t.ok(Object.keys(applied).length >= 12, Object.keys(applied).join());
      shell(`nft -f ${file}`);
      const listed = shell('nft list ruleset');
      t.match(listed, /chain nat-80-8080-TCP/);
      // With a mask, versions of nft list the comparison of marks in different words.
      const bits =
        markMask === WHOLE_MARK ? 'meta mark != 0x00000000 meta mark != 0x00001000 counter' : 'meta mark & ';
      const towards = `\t\toifname "conduit-*" ${bits}`;
      t.ok(listed.includes(towards), `nft lists it so: ${lineOf(listed)}`);
      t.ok(
        rulesetText(tables).includes(towards),
        `and the text reads the same: ${lineOf(rulesetText(tables))}`,
      );
      shell('nft flush ruleset');
      t.end();
    });
  }
}

/** The rule about interfaces towards targets. */
function lineOf(text: string): string {
  return text.split('\n').find(line => line.includes('oifname "conduit-*"')) ?? 'there is none';
}

/** Of `nft --debug=netlink`: the instructions of each chain, `inet TABLE CHAIN` before them. */
function instructions(text: string): Record<string, string[]> {
  const chains: Record<string, string[]> = {};
  let chain: string[] = [];
  for (const line of text.split('\n')) {
    if (/^inet \S+ \S+ ?$/.test(line)) {
      chain = chains[line.trim()] ?? [];
      chains[line.trim()] = chain;
    } else if (line.startsWith('  [')) {
      chain.push(line.trim());
    }
  }
  return chains;
}
