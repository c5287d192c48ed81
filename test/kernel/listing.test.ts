/** How the kernel is asked: each question about routes in a batch of `ip` makes it list those of all tables. */
import t from 'tap';
import { listRouting } from '../../host/kernel/routing-apply.js';
import type { Run } from '../../host/programs/command.js';

/** Answers as ip does, from these routes, and keeps the questions about routes outside main. */
function kernelWith(routes: readonly { dst: string; table: string }[]): { run: Run; asked: string[] } {
  const asked: string[] = [];
  const run: Run = async (_, args, options) => {
    const questions = options!.input!.trimEnd().split('\n');
    const answers = questions.map(question => {
      if (!question.startsWith('route') || question.includes('table main')) return [];
      if (args.includes('-4')) asked.push(question);
      const [, table] = /table (\S+)/.exec(question)!;
      const held = table === 'all' ? routes : routes.filter(route => route.table === table);
      const shown = question.endsWith('default') ? held.filter(({ dst }) => dst === 'default') : held;
      return table === 'all' ? shown : shown.map(({ dst }) => ({ dst }));
    });
    const stdout = answers.map(answer => `${JSON.stringify(answer)}\n`).join('');
    return { exitCode: 0, stdout, stderr: '' };
  };
  return { run, asked };
}

for (const count of [0, 1, 16, 17, 10_000]) {
  t.test(`the routes of ${count} tables are told by a bounded number of listings`, async t => {
    const tables = Array.from({ length: count }, (_, index) => 5001 + index);
    const narrow = tables.slice(-1).map(table => ({ dst: '20.0.0.0/24', table: String(table) }));
    const foreign = { dst: '10.9.0.0/16', table: '77' };
    const main = { dst: '192.0.2.0/24' } as { dst: string; table: string };
    const defaults = tables.map(table => ({ dst: 'default', table: String(table) }));
    const { run, asked } = kernelWith([...defaults, ...narrow, foreign, main]);
    const { listing } = await listRouting(run, [4], [4], tables);
    t.ok(asked.length <= 18, `${asked.length} listings`);
    t.same(
      listing.routes.map(({ table }) => table),
      tables,
    );
    t.same(
      listing.narrow,
      narrow.map(({ dst, table }) => ({ family: 4, table: Number(table), destination: dst })),
    );
  });
}
