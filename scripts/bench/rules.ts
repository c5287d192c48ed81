/**
 * `npm run bench:rules [-- --json --rounds N --targets 1,100,... --shapes 2/16,...]`: packets that the kernel
 * forwards by the rules of so many targets, as a plain list and as a tree, against those that it forwards by one; without a
 * queue or a core. All take turns in every round. As root: namespaces of its own, which vanish with it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { TREE_SHAPE, type TreeShape } from '../../host/kernel/mark-tree.js';
import { figures, median } from './figures.js';
import { Progress } from './progress.js';
import { type Layout, Range } from './router.js';
import { countOf, endWith, optionsOf } from './usage.js';

const INSIDE = 'MAGMARK_BENCH_NAMESPACE';
const ROUNDS = 7;
const TARGETS = '1,10,32,64,100,128,1000,10000';
const SEND_MS = 250;

interface Variant extends Layout {
  readonly name: string;
}

export interface RulesReport {
  readonly rounds: number;
  readonly rows: readonly RulesRow[];
}

export interface RulesRow {
  readonly family: 4 | 6;
  readonly targets: number;
  readonly rules: string;
  /** Packets by the second, each round. */
  readonly rates: readonly number[];
  /** Against one target of the same round: median, least, most. */
  readonly ratio: number;
  readonly least: number;
  readonly most: number;
}

interface Options {
  readonly json: boolean;
  readonly rounds: number;
  readonly targets: readonly number[];
  readonly shapes: readonly TreeShape[];
}

const ABOUT =
  'Packets that the kernel forwards by the rules of so many targets, as a list and as a tree, against those by one.\n' +
  'Takes about 3 minutes. Needs root, and works in network namespaces of its own.';

/** @throws UsageError */
function options(): Options {
  const values = optionsOf('bench:rules', ABOUT, {
    json: { type: 'boolean', default: false, help: 'one JSON document' },
    rounds: { type: 'string', default: String(ROUNDS), help: 'rounds of each measurement' },
    targets: { type: 'string', value: 'N,N,...', default: TARGETS, help: 'numbers of targets' },
    shapes: {
      type: 'string',
      value: 'BITS/LOOKUPS,...',
      default: `${TREE_SHAPE.bits}/${TREE_SHAPE.lookups}`,
      help: 'shapes of the tree of rules',
    },
  });
  const count = (name: string, text: string) => countOf('bench:rules', name, text);
  return {
    json: values.json,
    rounds: count('rounds', values.rounds),
    targets: values.targets.split(',').map(text => count('targets', text)),
    shapes: values.shapes.split(',').map((text): TreeShape => {
      const [bits = '', lookups = ''] = text.split('/');
      return { bits: count('shapes', bits), lookups: count('shapes', lookups) };
    }),
  };
}

/** In namespaces of its own, where `run` is all that it does. */
function runInside(): number {
  const args = [
    '--net',
    '--mount',
    process.execPath,
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
  ];
  const { status } = spawnSync('unshare', args, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } });
  return status ?? 1;
}

function variants({ targets: counts, shapes }: Options): Variant[] {
  const one: Variant = { name: 'list', targets: 1, tree: null, fewTables: false };
  return [
    one,
    ...counts
      .filter(targets => targets > 1)
      .flatMap((targets): Variant[] => [
        { name: 'list', targets, tree: null, fewTables: false },
        ...shapes.map(tree => ({
          name: shapes.length === 1 ? 'tree' : `tree ${2 ** tree.bits}/${tree.lookups}`,
          targets,
          tree,
          fewTables: false,
        })),
        ...(targets > 1000 ? [{ name: 'tree, 256 tables', targets, tree: shapes[0]!, fewTables: true }] : []),
      ]),
  ];
}

function measure(given: Options): RulesRow[] {
  const range = new Range();
  try {
    const progress = new Progress('bench:rules');
    const wanted = variants(given);
    progress.begin('making rules', wanted.length);
    const measured = wanted.map(variant => {
      const router = range.addRouter(variant);
      progress.step();
      return { variant, router };
    });
    const rows = ([4, 6] as const).flatMap(family => {
      const rates = measured.map((): number[] => []);
      progress.begin(`IPv${family}`, (given.rounds + 1) * measured.length);
      // The first round warms up.
      for (let round = 0; round <= given.rounds; round++) {
        for (const [at, { router }] of measured.entries()) {
          const rate = range.send(router, family, SEND_MS);
          if (round > 0) rates[at]!.push(rate);
          progress.step();
        }
      }
      return measured.map(({ variant }, at): RulesRow => {
        const ratios = figures(rates[at]!.map((rate, round) => rate / rates[0]![round]!));
        return {
          family,
          targets: variant.targets,
          rules: variant.name,
          rates: rates[at]!,
          ratio: ratios.median,
          least: ratios.fastest,
          most: ratios.slowest,
        };
      });
    });
    progress.end();
    return rows;
  } finally {
    range.close();
  }
}

function run(given: Options): void {
  const rows = measure(given);
  if (given.json) {
    const report: RulesReport = { rounds: given.rounds, rows };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const head = ['IPv', 'targets', 'rules', 'kpps', 'of one target', 'least', 'most'];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const { family, targets, rules, rates, ratio, least, most } of rows) {
    const share = [ratio, least, most].map(value => value.toFixed(2));
    table.push([family, targets, rules, (median(rates) / 1000).toFixed(0), ...share]);
  }
  process.stdout.write(`${table}\nmedians of ${given.rounds}, ${SEND_MS} ms each, interleaved\n`);
}

await endWith(async () => {
  const given = options();
  if (process.env[INSIDE] === undefined) return runInside();
  run(given);
  return 0;
});
