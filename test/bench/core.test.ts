/** The benchmark works and its two sides agree; its times are nobody's business here. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { Opponent } from '../../scripts/bench/opponent.js';
import { CASES, ONE_FLOW } from '../../scripts/bench/shape.js';
import { decideBatches, descriptorsOf, workloadOf } from '../../scripts/bench/workload.js';

const BENCH = fileURLToPath(new URL('../../scripts/bench/core.js', import.meta.url));
const MOST_FLOWS = 1000;
const QUICK = [
  '--rounds',
  '2',
  '--sample-ms',
  '1',
  '--loop-packets',
  '200000',
  '--most-flows',
  String(MOST_FLOWS),
];

async function run(...more: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [BENCH, ...QUICK, ...more]);
  return stdout;
}

t.test('Wasm and C decide every packet of every case alike, and the loop makes no garbage', async t => {
  const report = JSON.parse(await run('--json'));
  t.equal(report.ok, true);
  t.strictSame(
    report.rows.map(({ shape, flows, agree }: Record<string, unknown>) => [shape, flows, agree]),
    CASES.filter(({ flows }) => flows <= MOST_FLOWS).map(({ shape, flows }) => [shape.name, flows, true]),
  );
  for (const { wasm, c, ratio } of report.rows) t.ok(wasm.median > 0 && c.median > 0 && ratio > 0);
  t.ok(report.changed.ratioOthers > 0 && report.changed.ratioAll > 0);
  t.ok(report.tables.every(({ time }: { time: { median: number } }) => time.median > 0));
  t.ok(report.building.every(({ classifierBytes }: { classifierBytes: number }) => classifierBytes > 0));
  const { without, off, unmatched, on } = report.watching;
  for (const nanoseconds of [without, off, unmatched, on]) t.ok(nanoseconds > 0);
  t.equal(report.garbage.collections, 0);
  t.ok(report.garbage.packets >= 200_000);
  t.ok(report.garbage.control > 0, 'the observer sees garbage where some is made');
});

t.test('the comparison sees a side that decides nothing', async t => {
  const workload = workloadOf(ONE_FLOW[4], 4, 1);
  const opponent = Opponent.compile(workload.core);
  t.teardown(() => opponent.close());
  opponent.load(workload);
  t.notOk(descriptorsOf(workload).equals(opponent.descriptors(workload)), 'Wasm has decided nothing yet');
  decideBatches(workload, workload.areas);
  t.ok(descriptorsOf(workload).equals(opponent.descriptors(workload)));
});

t.test('options that make no sense are refused', async t => {
  for (const option of [['--rounds', '0'], ['--rounds', 'abc'], ['--most-flows', '0'], ['--jsn']]) {
    await t.rejects(run(...option), { code: 2, stderr: /^bench:core: [^\n]*\n$/ }, option.join(' '));
  }
});

t.test('without --json it prints tables for people', async t => {
  const text = await run();
  t.match(text, /C, one flow/);
  t.equal(text.match(/│ +the same │/g)?.length, CASES.filter(({ flows }) => flows <= MOST_FLOWS).length);
});
