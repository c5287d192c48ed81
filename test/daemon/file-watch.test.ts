/** Files that change in every way that editors and Kubernetes have. */
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { stepsTo } from '../../host/daemon/file-path.js';
import { FileWatch } from '../../host/daemon/file-watch.js';
import { waitFor } from '../../scripts/lab/wait.js';

const WAIT_MS = 10_000;

/** What a watch of `file` saw of it, each text once. */
async function watched(t: Test, file: string) {
  const texts: (string | null)[] = [];
  const warnings: string[] = [];
  let calls = 0;
  const read = (): string | null => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return null;
    }
  };
  const watch = FileWatch.start({
    file,
    log: { warn: (_: unknown, message?: string) => void warnings.push(message!) },
    onChange: () => {
      calls++;
      const text = read();
      if (texts.at(-1) !== text) texts.push(text);
    },
  });
  t.teardown(() => watch.stop());
  await waitFor('the first call', WAIT_MS, () => calls === 1);
  return {
    texts,
    warnings,
    calls: () => calls,
    sees: (text: string | null) => waitFor(`${text} to be seen`, WAIT_MS, () => texts.at(-1) === text),
  };
}

/** As kubelet projects a ConfigMap: `config.yaml` leads to `..data/config.yaml`, and `..data` is swapped by rename. */
function configMap(directory: string) {
  let version = 0;
  return {
    file: join(directory, 'config.yaml'),
    put(text: string): void {
      const name = `..version-${++version}`;
      mkdirSync(join(directory, name));
      writeFileSync(join(directory, name, 'config.yaml'), text);
      symlinkSync(name, join(directory, '..data_tmp'));
      renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
      if (version === 1) symlinkSync('..data/config.yaml', join(directory, 'config.yaml'));
      else rmSync(join(directory, `..version-${version - 1}`), { recursive: true });
    },
  };
}

t.test('a file that is written in place, again and again', async t => {
  const file = join(t.testdir({ f: 'one' }), 'f');
  const { sees, texts } = await watched(t, file);
  for (const text of ['two', 'three']) {
    writeFileSync(file, text);
    await sees(text);
  }
  t.same(texts, ['one', 'two', 'three']);
});

t.test('a file that is replaced by rename, and written in place after that', async t => {
  const file = join(t.testdir({ f: 'one' }), 'f');
  const { sees } = await watched(t, file);
  for (const text of ['two', 'three']) {
    writeFileSync(`${file}~`, text);
    renameSync(`${file}~`, file);
    await sees(text);
  }
  writeFileSync(file, 'four');
  await sees('four');
});

t.test('a file that is removed and comes back', async t => {
  const file = join(t.testdir({ f: 'one' }), 'f');
  const { sees } = await watched(t, file);
  unlinkSync(file);
  await sees(null);
  writeFileSync(file, 'two');
  await sees('two');
});

t.test('a ConfigMap that is swapped', async t => {
  const { file, put } = configMap(t.testdir());
  put('one');
  const { sees, texts } = await watched(t, file);
  for (const text of ['two', 'three', 'four']) {
    put(text);
    await sees(text);
  }
  t.same(texts, ['one', 'two', 'three', 'four'], 'no moment without the file');
});

t.test('a symbolic link to a file elsewhere, which is written, and a link that is turned', async t => {
  const root = t.testdir({ here: {}, there: { f: 'one', g: 'two' } });
  const file = join(root, 'here/f');
  symlinkSync('../there/f', file);
  const { sees } = await watched(t, file);
  writeFileSync(join(root, 'there/f'), 'written');
  await sees('written');
  symlinkSync(join(root, 'there/g'), `${file}~`);
  renameSync(`${file}~`, file);
  await sees('two');
  writeFileSync(join(root, 'there/g'), 'written too');
  await sees('written too');
});

t.test('a directory on the way that is replaced', async t => {
  const root = t.testdir({ etc: { magmark: { f: 'one' } }, next: { magmark: { f: 'two' } } });
  const file = join(root, 'etc/magmark/f');
  const { sees } = await watched(t, file);
  renameSync(join(root, 'etc'), join(root, 'former'));
  await sees(null);
  renameSync(join(root, 'next'), join(root, 'etc'));
  await sees('two');
  writeFileSync(file, 'three');
  await sees('three');
  rmSync(dirname(file), { recursive: true });
  await sees(null);
  mkdirSync(dirname(file));
  writeFileSync(file, 'four');
  await sees('four');
});

t.test('other files of the directory are nobody’s business', async t => {
  const root = t.testdir({ f: 'one' });
  const { calls, sees } = await watched(t, join(root, 'f'));
  for (let n = 0; n < 20; n++) writeFileSync(join(root, `other-${n}`), '');
  writeFileSync(join(root, 'f'), 'two');
  await sees('two');
  t.equal(calls(), 2, 'one call for the file');
});

t.test('a file that is written in many steps is told when it rests, and not at each of them', async t => {
  const STEPS = 50;
  const file = join(t.testdir({ f: 'one' }), 'f');
  const { sees, calls } = await watched(t, file);
  let text = '';
  for (let n = 0; n < STEPS; n++) {
    text += `${n}\n`;
    writeFileSync(file, text);
    // Its events are told in between.
    await turn();
  }
  await sees(text);
  // A machine that stands still for 100 ms in the midst may make it one more.
  t.ok(calls() - 1 < STEPS / 5, `${calls() - 1} calls for ${STEPS} steps`);
});

t.test('the way to a file: directories, links, links in links, what is missing', t => {
  const root = t.testdir({ a: { f: '' }, b: {} });
  symlinkSync('../a', join(root, 'b/link'));
  symlinkSync('link/f', join(root, 'b/f'));
  symlinkSync('loop', join(root, 'loop'));
  const within = (path: string) =>
    stepsTo(join(root, path))
      .filter(({ directory }) => directory.startsWith(root))
      .map(({ directory, name }) => join(directory, name).slice(root.length + 1));
  t.same(within('a/f'), ['a', 'a/f']);
  t.same(within('b/f'), ['b', 'b/f', 'b/link', 'a', 'a/f']);
  t.same(within('a/missing/f'), ['a', 'a/missing', 'a/missing/f']);
  t.ok(within('loop/f').length <= 42, 'a loop ends');
  t.equal(stepsTo('/etc')[0]!.directory, '/');
  t.end();
});
