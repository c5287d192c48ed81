/**
 * `npm run bench [-- --json --only NAME,... --output FOLDER --quick]`: every benchmark, one after the other; prints each figure
 * beside its target, and writes them with plots to docs/benchmarks.md. Exit 1 if one of them fails; a target that is missed is
 * told and no failure, since it depends on the machine. Ctrl-C and SIGTERM leave nothing behind.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { markdown, tables } from './report/document.js';
import type { Section } from './report/figure.js';
import { thisMachine } from './report/machine.js';
import { PARTS, type Part } from './report/parts.js';
import { drawn } from './report/plot.js';
import { run } from './report/run.js';
import { endWith, optionsOf, UsageError } from './usage.js';

const PLOTS = 'benchmarks';

interface Options {
  readonly json: boolean;
  readonly quick: boolean;
  readonly output: string;
  readonly parts: readonly Part[];
}

/** @throws UsageError */
function options(): Options {
  const names = PARTS.map(({ name }) => name);
  const values = optionsOf(
    'bench',
    'Every benchmark, one after the other; writes benchmarks.md with plots. Takes about 20 minutes. Needs root.',
    {
      json: { type: 'boolean', default: false, help: 'one JSON document' },
      quick: { type: 'boolean', default: false, help: 'short and worthless: only to see that they run' },
      only: { type: 'string', value: 'NAME,...', default: names.join(','), help: 'these alone' },
      output: { type: 'string', value: 'FOLDER', default: 'docs', help: 'where benchmarks.md goes' },
    },
  );
  const wanted = values.only.split(',');
  const unknown = wanted.filter(name => !names.includes(name));
  if (unknown.length > 0)
    throw new UsageError(`bench: --only: no ${unknown.join(', ')}; there are ${names.join(', ')}`);
  return { ...values, parts: PARTS.filter(({ name }) => wanted.includes(name)) };
}

/**
 * @param temporary a folder that goes with this process: a part that is ended amid its work leaves files there
 * @returns whether something failed
 */
async function bench(
  { json, quick, output, parts }: Options,
  stop: AbortSignal,
  temporary: string,
): Promise<boolean> {
  const machine = thisMachine();
  const sections: Section[] = [];
  const failed: string[] = [];
  for (const [index, part] of parts.entries()) {
    process.stderr.write(
      `[${index + 1}/${parts.length}] ${part.name}, about ${quick ? 'a few seconds' : part.takes}\n`,
    );
    const from = performance.now();
    const { report, fault } = await run(part, quick, { stop, temporary });
    if (stop.aborted) return true;
    if (report !== null) sections.push(...part.sections(report));
    if (fault !== null) failed.push(`${part.name}: ${fault}`);
    process.stderr.write(`  ${fault ?? 'done'} after ${((performance.now() - from) / 1000).toFixed(0)} s\n`);
  }
  if (json) process.stdout.write(`${JSON.stringify({ machine, failed, sections })}\n`);
  else process.stdout.write(`${tables(sections)}\n`);
  for (const fault of failed) process.stderr.write(`${fault}\n`);
  if (sections.length === 0) return true;
  mkdirSync(join(output, PLOTS), { recursive: true });
  for (const plot of sections.flatMap(({ plots }) => plots))
    writeFileSync(join(output, PLOTS, `${plot.name}.svg`), drawn(plot));
  writeFileSync(join(output, 'benchmarks.md'), markdown(machine, sections, PLOTS, failed));
  process.stderr.write(`written: ${join(output, 'benchmarks.md')}\n`);
  return failed.length > 0;
}

await endWith(async () => {
  const given = options();
  const stop = new AbortController();
  let ended: number | null = null;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.on(signal, () => {
      ended = code;
      stop.abort();
    });
  // Short: a socket's path has 107 bytes at most.
  const temporary = mkdtempSync(join(tmpdir(), 'mm-'));
  try {
    const failed = await bench(given, stop.signal, temporary);
    return ended ?? (failed ? 1 : 0);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
});
