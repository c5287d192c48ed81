import t from 'tap';
import { parseJson, run } from '../../host/kernel/command.js';

t.test('input arrives where a program opens /dev/stdin by its path, as nft does', async t => {
  const input = 'x'.repeat(300_000);
  t.equal((await run('cat', ['/dev/stdin'], { input })).stdout, input);
  t.equal((await run('cat', [], { input: 'plain' })).stdout, 'plain');
});

t.test('a failure tells command line, exit code and words', async t => {
  await t.rejects(run('sh', ['-c', 'echo why >&2; exit 3']), {
    code: 'KERNEL_REFUSED',
    message: 'sh -c echo why >&2; exit 3: exit code 3: why',
  });
  t.equal((await run('sh', ['-c', 'exit 3'], { allowFailure: true })).exitCode, 3);
});

t.test('a program that is missing is named', async t => {
  await t.rejects(run('magmark-no-such-program', []), {
    code: 'ENVIRONMENT',
    message: /magmark-no-such-program is not installed/,
  });
});

t.test('output that is no JSON is told with its command', t => {
  t.throws(() => parseJson('[', 'ip -j rule'), { code: 'KERNEL_REFUSED', message: /^ip -j rule: / });
  t.end();
});
