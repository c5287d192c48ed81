import t from 'tap';
import type { runBatchAndAsk } from '../../host/kernel/batch.js';
import { applyChanges } from '../../host/kernel/routing-apply.js';
import { together } from '../../host/kernel/together.js';
import { KernelError } from '../../host/types/errors.js';

t.test('the results are those of all, in their order', async t => {
  t.strictSame(await together([Promise.resolve(1), Promise.resolve('a')]), [1, 'a']);
});

t.test('a batch of one family that fails is told when that of the other has ended', async t => {
  const order: string[] = [];
  let end = () => {};
  const six = new Promise<void>(resolve => {
    end = resolve;
  });
  const run: Parameters<typeof runBatchAndAsk>[0] = async (_, args) => {
    if (args.includes('-4')) throw new KernelError('ip -4 hangs');
    await six;
    order.push('IPv6 ended');
    return { exitCode: 0, stdout: '[]\n[]\n', stderr: '' };
  };
  const changes = ([4, 6] as const).map(family => ({
    family,
    line: 'rule add priority 99 lookup 5044',
    of: { kind: 'rule' as const },
  }));
  const applied = applyChanges(run, [4, 6], changes, { routes: [], neighbours: new Map() });
  const told = t.rejects(applied, { message: 'ip -4 hangs' }).then(() => order.push('told'));
  setImmediate(end);
  await told;
  t.strictSame(order, ['IPv6 ended', 'told']);
});
