import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseJson, run } from '../../host/programs/command.js';

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

t.test('a program that may not be executed is named', async t => {
  const program = join(t.testdir({ program: '' }), 'program');
  await t.rejects(run(program, []), { code: 'ENVIRONMENT', message: /program .*may not be executed/ });
});

t.test('a program that meets its bound is killed and named', async t => {
  await t.rejects(run('sleep', ['60'], { boundMs: 50 }), {
    code: 'KERNEL_REFUSED',
    message: 'sleep 60: no end after 50 ms',
  });
});

t.test('input that finds no room in one place goes to the next, and leaves nothing behind', async t => {
  const directory = t.testdir({ file: '' });
  const former = process.env.TMPDIR;
  t.teardown(() => {
    delete process.env.TMPDIR;
    if (former !== undefined) {
      process.env.TMPDIR = former;
    }
  });
  process.env.TMPDIR = join(directory, 'file');
  t.equal((await run('cat', [], { input: 'elsewhere' })).stdout, 'elsewhere');
  process.env.TMPDIR = directory;
  t.equal((await run('cat', [], { input: 'here' })).stdout, 'here');
  t.same(readdirSync(directory), ['file']);
});

t.test('output that is no JSON is told with its command', t => {
  t.throws(() => parseJson('[', 'ip -j rule'), { code: 'KERNEL_REFUSED', message: /^ip -j rule: / });
  t.end();
});
