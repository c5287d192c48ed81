import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type Claims, NO_CLAIMS } from '../../host/kernel/claims.js';
import { Journal, readBootId } from '../../host/kernel/journal.js';

const HERE = { bootId: 'boot', cookie: '17' };
const CLAIMS: Claims = {
  tables: ['meridio-nat'],
  mangle: [{ family: 4, created: true }],
  rules: [
    { family: 4, priority: 99, fwmark: { value: 5069, mask: 0xffffffff }, from: null, to: null, table: 5069 },
    { family: 6, priority: 100, fwmark: null, from: '2000::1/128', to: null, table: 4096 },
    {
      family: 4,
      priority: 102,
      fwmark: { value: 5001, mask: 0xffffffff },
      from: null,
      to: null,
      table: null,
    },
  ],
  routes: [{ family: 4, table: 5069 }],
};
const noWarning = (message: string) => t.fail(message);

t.test('claims outlive the process; with nothing claimed there is no file', async t => {
  const path = join(t.testdir(), 'journal');
  const journal = await Journal.open(path, HERE, noWarning);
  t.same(journal.claims, NO_CLAIMS);
  t.notOk(existsSync(path));
  await journal.write(CLAIMS);
  t.equal(statSync(path).mode & 0o777, 0o600);
  const next = await Journal.open(path, HERE, noWarning);
  t.same(next.claims, CLAIMS);
  await next.write(NO_CLAIMS);
  t.notOk(existsSync(path));
  await next.write(NO_CLAIMS);
});

t.test('a journal of another namespace or boot claims nothing and is set aside', async t => {
  for (const identity of [
    { bootId: 'boot', cookie: '18' },
    { bootId: 'other', cookie: '17' },
  ]) {
    const path = join(t.testdir(), 'journal');
    await (await Journal.open(path, HERE, noWarning)).write(CLAIMS);
    const text = readFileSync(path, 'utf8');
    const warnings: string[] = [];
    const journal = await Journal.open(path, identity, message => warnings.push(message));
    t.same(journal.claims, NO_CLAIMS);
    t.match(warnings, [/another network namespace or boot/]);
    t.notOk(existsSync(path));
    t.equal(readFileSync(`${path}.other-namespace`, 'utf8'), text);
  }
});

t.test('a journal that cannot be understood is an error that names it', async t => {
  const path = join(t.testdir(), 'journal');
  const whole = JSON.stringify({ version: 1, identity: HERE, claims: CLAIMS });
  for (const text of [
    '',
    '{',
    '[]',
    'null',
    whole.slice(0, -9),
    whole.replace('"priority":99', '"priority":"99"'),
  ]) {
    writeFileSync(path, text);
    await t.rejects(Journal.open(path, HERE, noWarning), { code: 'ENVIRONMENT', message: path }, text);
    t.ok(existsSync(path), 'it stays');
  }
});

t.test(
  'a journal that cannot be written is an error that names it, and its claims stay what the file holds',
  async t => {
    const directory = join(t.testdir(), 'run');
    const path = join(directory, 'journal');
    mkdirSync(directory);
    const more = { ...CLAIMS, tables: ['meridio-nat', 'meridio-defrag'] };
    const journal = await Journal.open(path, HERE, noWarning);
    await journal.write(CLAIMS);
    const obstacles: [claim: string, make: () => void, words: RegExp][] = [
      [
        'a file in place of its directory',
        () => writeFileSync(directory, ''),
        /replace journal .*journal: ENOTDIR/,
      ],
      ['a directory that is gone', () => undefined, /write journal .*: ENOENT/],
    ];
    for (const [claim, make, message] of obstacles) {
      renameSync(directory, `${directory}-away`);
      make();
      await t.rejects(journal.write(more), { code: 'ENVIRONMENT', message }, claim);
      t.same(journal.claims, CLAIMS, claim);
      rmSync(directory, { force: true });
      renameSync(`${directory}-away`, directory);
      t.same((await Journal.open(path, HERE, noWarning)).claims, CLAIMS, claim);
      t.strictSame(readdirSync(directory), ['journal'], claim);
    }
    await journal.write(more);
    t.same((await Journal.open(path, HERE, noWarning)).claims, more, 'once it can, it is');
  },
);

t.test('a journal whose place is taken cannot be replaced or removed, and is named', async t => {
  const path = join(t.testdir(), 'journal');
  const journal = await Journal.open(path, HERE, noWarning);
  await journal.write(CLAIMS);
  rmSync(path);
  mkdirSync(join(path, 'inside'), { recursive: true });
  await t.rejects(journal.write({ ...CLAIMS, tables: [] }), {
    code: 'ENVIRONMENT',
    message: /replace journal .*journal: /,
  });
  await t.rejects(journal.write(NO_CLAIMS), { code: 'ENVIRONMENT', message: /remove journal .*journal: / });
  t.same(journal.claims, CLAIMS);
  await t.rejects(
    Journal.open(join(path, 'no', 'journal'), HERE, noWarning).then(it => it.write(CLAIMS)),
    {
      code: 'ENVIRONMENT',
      message: /no\/journal/,
    },
  );
  rmSync(path, { recursive: true });
  await journal.write(NO_CLAIMS);
  t.same(journal.claims, NO_CLAIMS, 'one that is gone already counts as removed');
});

t.test('a journal that cannot be set aside is an error that names it', async t => {
  const path = join(t.testdir(), 'journal');
  await (await Journal.open(path, HERE, noWarning)).write(CLAIMS);
  mkdirSync(`${path}.other-namespace/inside`, { recursive: true });
  await t.rejects(Journal.open(path, { bootId: 'boot', cookie: '18' }, noWarning), {
    code: 'ENVIRONMENT',
    message: /set aside .*journal/,
  });
  t.ok(existsSync(path), 'it stays');
});

t.test('this boot has an identity', async t => {
  t.match(await readBootId(), /^[0-9a-f-]{36}$/);
});
