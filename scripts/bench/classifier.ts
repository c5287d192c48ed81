/**
 * `npm run bench:classifier [-- --json --pairs N]`: the test that compares classifier and linear walk, on ten million pairs
 * of configuration and packet, as a figure. Exit 1 if two decisions differ.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { countOf, endWith, optionsOf } from './usage.js';

const TEST = fileURLToPath(new URL('../../test/property/classifier.test.js', import.meta.url));

const ABOUT = 'Decisions of the classifier and of the linear walk, compared. Takes about 1 minute.';

export interface ClassifierReport {
  /** Compared without a difference. */
  readonly pairs: number;
  /** What were to be compared. */
  readonly wanted: number;
  /** The test's own words about what went wrong; empty: nothing. */
  readonly faults: readonly string[];
}

await endWith(async () => {
  const { json, pairs: wanted } = optionsOf('bench:classifier', ABOUT, {
    json: { type: 'boolean', default: false, help: 'one JSON document' },
    pairs: { type: 'string', default: '10000000', help: 'pairs of configuration and packet' },
  });
  const most = countOf('bench:classifier', 'pairs', wanted);
  // Outside of tap the test prints the same text.
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name)),
  );
  const child = spawn(process.execPath, [TEST], {
    env: { ...environment, CLASSIFIER_PAIRS: `${most}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let pairs = 0;
  const faults: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [, count] = /^ *# ([0-9]+) pairs of /.exec(line) ?? [];
    if (count !== undefined) process.stderr.write(`  ${Number(count).toLocaleString('en')} pairs\n`);
    const [, sum] = /^ *#? *"?pairs"?: ([0-9]+)/.exec(line) ?? [];
    if (sum !== undefined) pairs = Number(sum);
    if (/^ *not ok/.test(line)) faults.push(line.trim());
  }
  const [code] = (await closed) as [number | null];
  if (code !== 0 && faults.length === 0) faults.push(`the test ended with ${code}`);
  const report: ClassifierReport = { pairs, wanted: most, faults };
  process.stdout.write(
    json
      ? `${JSON.stringify(report)}\n`
      : `${pairs} pairs without a difference${faults.map(fault => `\n${fault}`).join('')}\n`,
  );
  return faults.length > 0 ? 1 : 0;
});
