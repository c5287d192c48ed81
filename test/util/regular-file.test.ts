import { execFileSync } from 'node:child_process';
import { mkdirSync, stat as statNow, symlinkSync, writeFileSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { lateReads, readRegularFile } from '../../host/util/regular-file.js';

const MOST = { mostBytes: 1000 };

t.test('a regular file is read, also through symbolic links as a ConfigMap has them', async t => {
  const directory = t.testdir({ '..2026': { 'config.yaml': 'text ä' } });
  symlinkSync('..2026', join(directory, '..data'));
  symlinkSync('..data/config.yaml', join(directory, 'config.yaml'));
  t.equal(await readRegularFile(join(directory, 'config.yaml'), MOST), 'text ä');
  t.match(await readRegularFile('/proc/self/status', { mostBytes: 100_000 }), /^Name:/, 'of /proc too');
});

t.test('anything else is an error that says what it is, and nobody waits', async t => {
  const directory = t.testdir();
  const at = (name: string): string => join(directory, name);
  execFileSync('mkfifo', [at('fifo')]);
  mkdirSync(at('directory'));
  symlinkSync('/dev/zero', at('zero'));
  symlinkSync('fifo', at('link'));
  for (const [name, fault] of [
    ['fifo', 'it is a FIFO, and a regular file is needed'],
    ['link', 'it is a FIFO, and a regular file is needed'],
    ['directory', 'it is a directory, and a regular file is needed'],
    ['zero', 'it is a character device, and a regular file is needed'],
  ] as const) {
    await t.rejects(readRegularFile(at(name), MOST), { message: fault }, name);
  }
  await t.rejects(readRegularFile(at('none'), MOST), { code: 'ENOENT' });
});

t.test('a file is as long as its bound at most', async t => {
  const path = join(t.testdir(), 'file');
  writeFileSync(path, 'x'.repeat(1000));
  t.equal((await readRegularFile(path, MOST)).length, 1000);
  writeFileSync(path, 'x'.repeat(1001));
  await t.rejects(readRegularFile(path, MOST), { message: 'it has more than 1000 bytes' });
  // It claims to be empty.
  await t.rejects(readRegularFile('/proc/kallsyms', MOST), { message: 'it has more than 1000 bytes' });
});

t.test('what becomes a FIFO between the look and the opening is refused all the same', async t => {
  const directory = t.testdir({ file: 'text' });
  const fifo = join(directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const files = { stat: () => stat(join(directory, 'file'), { bigint: true }), open };
  await t.rejects(readRegularFile(fifo, { ...MOST, files }), {
    message: 'it is a FIFO, and a regular file is needed',
  });
});

t.test('a file system that does not answer is an error in time, and is not asked twice', async t => {
  const path = join(t.testdir({ file: 'text' }), 'file');
  let answer = (): void => {};
  const answered = new Promise<void>(resolve => {
    answer = resolve;
  });
  let asked = 0;
  const files = {
    stat: async (name: string) => {
      asked++;
      await answered;
      return stat(name, { bigint: true });
    },
    open: (name: string, flags: number): Promise<FileHandle> => open(name, flags),
  };
  const options = { ...MOST, files, boundMs: 20 };
  await t.rejects(readRegularFile(path, options), {
    message: 'the file system does not answer within 0.02 s',
  });
  t.strictSame(lateReads(), [path]);
  await t.rejects(readRegularFile(path, options), {
    message: /^an earlier read of it has not ended for \d+ s$/,
  });
  t.equal(asked, 1);
  answer();
  for (const end = Date.now() + 60_000; lateReads().length > 0 && Date.now() < end; )
    await new Promise(resolve => statNow(path, resolve));
  t.equal(await readRegularFile(path, options), 'text');
});
