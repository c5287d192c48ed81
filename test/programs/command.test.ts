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

t.test('a program that prints without end is killed and named', async t => {
  const before = process.memoryUsage().rss;
  await t.rejects(run('yes', [], { maxCharacters: 1024 * 1024 }), {
    code: 'KERNEL_REFUSED',
    message: 'yes: it printed more than 1048576 characters',
  });
  t.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024);
});

t.test('what a killed program started is not waited for', async t => {
  const began = performance.now();
  await t.rejects(run('sh', ['-c', 'sleep 20; exit 1'], { boundMs: 50 }), {
    message: /: no end after 50 ms$/,
  });
  t.ok(performance.now() - began < 15_000, 'its sleep has the pipes open for 20 s');
});

t.test('a program that hangs is told with its time; a stop ends it, and bounds the next ones', async t => {
  // Programs are the process's own: in another one.
  const module = (name: string): string => new URL(`../../host/programs/${name}.js`, import.meta.url).href;
  const program = `
    import { run } from '${module('command')}';
    import { programs } from '${module('running')}';
    const words = error => error.message;
    const hanging = run('sleep', ['1000']).catch(words);
    while (programs.slow(0).length === 0) await new Promise(setImmediate);
    const slow = programs.slow(0);
    programs.endBy(performance.now() + 1000);
    programs.endPresent(10);
    const first = await hanging;
    const second = await run('sleep', ['1000']).catch(words);
    console.log(JSON.stringify({ slow, first, second, left: programs.slow(0) }));
  `;
  const { stdout } = await run('node', ['--input-type=module', '-e', program]);
  const { slow, first, second, left } = JSON.parse(stdout);
  t.strictSame(slow, ['sleep has not ended for 0 s']);
  t.equal(first, 'sleep 1000: no end 10 ms after the stop began');
  t.match(second, /^sleep 1000: no end after [2-5]\d\d ms$/, 'half of the time that is left');
  t.strictSame(left, []);
});

t.test('a lack of file descriptors is an error of the command, and of nothing else', async t => {
  const module = (name: string): string => new URL(`../../host/programs/${name}.js`, import.meta.url).href;
  const program = `
    import { openSync, closeSync } from 'node:fs';
    import { run } from '${module('command')}';
    import { Child } from '${module('child')}';
    process.on('uncaughtException', error => console.log('uncaught', error.message));
    const opened = [];
    try { while (true) opened.push(openSync('/dev/null')); } catch {}
    const words = [];
    // None is left, then some that do not suffice.
    for (let left = 0; left < 9; left++) {
      words.push((await run('true', []).catch(error => error)).message);
      words.push((await run('ip', [], { input: 'x' }).catch(error => error)).message);
      words.push(await Child.start('true', []).ended);
      closeSync(opened.pop());
    }
    for (const descriptor of opened.splice(0)) closeSync(descriptor);
    const { exitCode } = await run('true', []);
    console.log(JSON.stringify({ words: [...new Set(words)], exitCode }));
  `;
  const { stdout } = await run('sh', ['-c', 'ulimit -n 64; exec node --input-type=module -e "$0"', program]);
  const { words, exitCode } = JSON.parse(stdout);
  t.equal(exitCode, 0, 'it goes on afterwards');
  t.ok(words.length > 0);
  for (const text of words)
    t.match(text, /cannot be started: this process has no file descriptor left \(EMFILE\)/);
});
