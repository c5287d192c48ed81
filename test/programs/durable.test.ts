import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { replaceSynced } from '../../host/programs/durable.js';

t.test('a file is replaced whole, with a mode of its own, and nothing is left beside it', async t => {
  const directory = t.testdir({ journal: 'former' });
  const path = join(directory, 'journal');
  await replaceSynced('journal', path, 'new');
  t.equal(readFileSync(path, 'utf8'), 'new');
  t.equal(lstatSync(path).mode & 0o777, 0o600);
  t.strictSame(readdirSync(directory), ['journal']);
});

t.test(
  'links that another user placed are not followed: neither at the path nor where a draft could be',
  async t => {
    const directory = t.testdir({ victim: 'as it was' });
    const path = join(directory, 'journal');
    const victim = join(directory, 'victim');
    symlinkSync(victim, path);
    symlinkSync(victim, `${path}.new`);
    await replaceSynced('journal', path, 'new');
    t.equal(readFileSync(victim, 'utf8'), 'as it was');
    t.equal(readFileSync(path, 'utf8'), 'new');
    t.ok(lstatSync(path).isFile());
  },
);

t.test('a full disk leaves the former file and no draft', async t => {
  const directory = t.testdir({ journal: 'former' });
  const path = join(directory, 'journal');
  const full = () => open('/dev/full', 'w');
  await t.rejects(replaceSynced('journal', path, 'new', full), {
    code: 'ENVIRONMENT',
    message: /^cannot write journal .*journal\.[0-9a-f]{12}\.new: ENOSPC/,
  });
  t.equal(readFileSync(path, 'utf8'), 'former');
  t.strictSame(readdirSync(directory), ['journal']);
});

t.test('a place that is taken is named, and no draft is left', async t => {
  const directory = t.testdir();
  const path = join(directory, 'journal');
  mkdirSync(join(path, 'inside'), { recursive: true });
  await t.rejects(replaceSynced('journal', path, 'new'), { message: /^cannot replace journal .*journal: / });
  t.strictSame(readdirSync(directory), ['journal']);
});

t.test('drafts of processes that were killed are removed, and nothing else', async t => {
  const directory = t.testdir();
  const path = join(directory, 'journal');
  const stale = `${path}.0123456789ab.new`;
  const kept = [
    `${path}.ba9876543210.new`,
    `${path}.mine.new`,
    `${path}.new`,
    join(directory, 'other.0123456789ab.new'),
  ];
  for (const file of [stale, ...kept]) writeFileSync(file, 'draft');
  for (const file of [stale, ...kept.slice(1)]) utimesSync(file, 0, 0);
  await replaceSynced('journal', path, 'new');
  t.strictSame(
    readdirSync(directory).sort(),
    [path, ...kept].map(file => file.slice(directory.length + 1)).sort(),
  );
});
