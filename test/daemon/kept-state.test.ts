import {
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { KeptState, statePath } from '../../host/daemon/kept-state.js';
import { firstConfiguration } from '../../host/daemon/source.js';

const TEXT = 'vips: [20.0.0.1/32] # ä\nstreams: []\nflows: []\n';
const KEPT = { name: '/etc/magmark/config.yaml', text: TEXT, at: new Date('2026-11-24T18:00:00.123Z') };

t.test('what was kept is read again: name, text, time; nobody else may read it', async t => {
  const path = join(t.testdir(), 'new', 'state.json');
  const state = new KeptState(path);
  await state.keep(KEPT);
  t.equal(state.fault, null);
  t.equal(state.keptAt, KEPT.at);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.same(await new KeptState(path).read(), KEPT);
  await state.keep({ ...KEPT, text: '' });
  t.same(await new KeptState(path).read(), { ...KEPT, text: '' });
  t.strictSame(readdirSync(dirname(path)), ['state.json']);
});

t.test('a file is preferred; without one what was kept is used and named', async t => {
  const path = join(t.testdir({ 'config.yaml': TEXT.replace('20.0.0.1', '20.0.0.2') }), 'state.json');
  const state = new KeptState(path);
  await state.keep(KEPT);
  const file = join(path, '../config.yaml');
  t.match(await firstConfiguration(file, state), { kind: 'file', name: file });
  t.match(await firstConfiguration(null, state), { kind: 'state', name: KEPT.name, text: TEXT });
});

t.test('a state that cannot be used is an error that names file and fault', async t => {
  const path = join(t.testdir(), 'state.json');
  const state = new KeptState(path);
  await t.rejects(state.read(), { code: 'CONFIG_INVALID', message: `${path}: nothing is kept there` });
  await state.keep(KEPT);
  const whole = readFileSync(path, 'utf8');
  const rows: [claim: string, text: string, fault: RegExp][] = [
    ['empty', '', /state\.json: Unexpected end of JSON/],
    ['cut short', whole.slice(0, -20), /state\.json: Unterminated string/],
    ['no object', '17', /not a state of magmark/],
    ['null', 'null', /not a state of magmark/],
    ['another file', '{"a":1}', /not a state of magmark/],
    [
      'a later version',
      whole.replace('"version":1', '"version":2'),
      /of version 2, and this magmark reads 1/,
    ],
    ['a version that is none', whole.replace('"version":1', '"version":"1"'), /of version "1"/],
    ['no text', whole.replace('"text"', '"txt"'), /its name, time or text is missing/],
    ['no time', whole.replace('2026-', 'MMXXVI-'), /"MMXXVI-11-.*" is no time/],
    [
      'one digit of the text',
      whole.replace('20.0.0.1', '20.0.0.3'),
      /not the one that was written \(sha256\)/,
    ],
  ];
  for (const [claim, text, fault] of rows) {
    writeFileSync(path, text);
    await t.rejects(state.read(), { code: 'CONFIG_INVALID', message: fault }, claim);
    await t.rejects(firstConfiguration(null, state), { message: path }, claim);
    t.equal(readFileSync(path, 'utf8'), text, 'it stays');
  }
  rmSync(path);
  mkdirSync(path);
  await t.rejects(state.read(), {
    message: /state\.json: cannot be read: it is a directory, and a regular file is needed/,
  });
});

t.test('a kept text that this version does not take is told by path and fault', async t => {
  const path = join(t.testdir(), 'state.json');
  const state = new KeptState(path);
  await state.keep({ ...KEPT, text: `${TEXT}colour: red\n` });
  await t.rejects(firstConfiguration(null, state), {
    code: 'CONFIG_INVALID',
    message: /^.*state\.json, kept of \/etc\/magmark\/config\.yaml: colour: /,
  });
});

t.test('what cannot be kept is a fault, the former stays, and once it can it is', async t => {
  const directory = join(t.testdir(), 'kept');
  const path = join(directory, 'state.json');
  mkdirSync(directory);
  const state = new KeptState(path);
  await state.keep(KEPT);
  const other = { ...KEPT, text: `${TEXT}# other\n`, at: new Date() };
  // A file in place of its directory.
  renameSync(directory, `${directory}-away`);
  writeFileSync(directory, '');
  await state.keep(other);
  t.match(state.fault, /replace state .*state\.json: ENOTDIR/);
  t.match(state.warnings, [/^what is in force is not kept for a start without a file: /]);
  t.equal(state.keptAt, KEPT.at);
  rmSync(directory);
  renameSync(`${directory}-away`, directory);
  t.same(await new KeptState(path).read(), KEPT);
  await state.keep(other);
  t.equal(state.fault, null);
  t.same(state.warnings, []);
  t.same(await new KeptState(path).read(), other);

  const nowhere = new KeptState('/proc/none/state.json');
  await nowhere.keep(KEPT);
  t.match(nowhere.fault, /\/proc\/none cannot be made/);
});

t.test('namespaces with a name have a state each', t => {
  t.equal(statePath('lb-1'), '/var/lib/magmark/state-lb-1.json');
  t.equal(statePath(null), '/var/lib/magmark/state.json');
  t.end();
});

t.test(
  'in a directory that others can write to, no link is followed and no file of another user is read',
  async t => {
    const directory = t.testdir({ victim: 'as it was' });
    const path = join(directory, 'state.json');
    const victim = join(directory, 'victim');
    symlinkSync(victim, `${path}.new`);
    symlinkSync(victim, path);
    const state = new KeptState(path);
    await t.rejects(state.read(), { message: /it is a symbolic link, and a regular file is needed/ });
    await state.keep(KEPT);
    t.equal(state.fault, null);
    t.equal(readFileSync(victim, 'utf8'), 'as it was');
    t.ok(lstatSync(path).isFile(), 'the link was replaced');
    t.same(await state.read(), KEPT);
    if (process.geteuid?.() !== 0) return;
    chownSync(path, 65534, 65534);
    await t.rejects(state.read(), {
      message: /it belongs to user 65534, neither to root nor to 0: it may be anything/,
    });
  },
);
