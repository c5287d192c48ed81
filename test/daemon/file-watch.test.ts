/** Files that change in every way that editors and Kubernetes have. */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { stepsTo } from '../../host/daemon/file-path.js';
import { FileWatch, type FileWatchOptions } from '../../host/daemon/file-watch.js';
import { waitFor } from '../../scripts/lab/wait.js';

const WAIT_MS = 10_000;

/** What a watch of `file` saw of it, each text once. */
async function watched(t: Test, file: string, options: Partial<FileWatchOptions> = {}) {
  const texts: (string | null)[] = [];
  const warnings: string[] = [];
  const faults: (readonly string[])[] = [];
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
    ...options,
    onFaults: lines => void faults.push(lines),
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
    faults,
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

/** A `watch` that the kernel refuses while `refusing` holds a directory. */
function refusable() {
  const refusing = new Set<string>();
  const watch = ((directory: string, listener: () => void) => {
    if (refusing.has(directory))
      throw Object.assign(new Error('System limit for number of file watchers reached'), { code: 'ENOSPC' });
    return fs.watch(directory, listener);
  }) as typeof fs.watch;
  return { refusing, watch };
}

const OFTEN = { unwatched: 50, always: 3_600_000 };

t.test(
  'a directory that cannot be watched is named, the file is read again, and it is watched when it can be',
  async t => {
    const root = t.testdir({ f: 'one' });
    const { refusing, watch } = refusable();
    refusing.add(root);
    const { sees, faults, warnings } = await watched(t, join(root, 'f'), { watch, pollMs: OFTEN });
    t.match(faults.at(-1), [
      /^--watch: .* cannot be watched \(System limit .*: .* is read again every 0.05 s/,
    ]);
    writeFileSync(join(root, 'f'), 'two');
    await sees('two');
    t.equal(warnings.length, 1, 'logged once');
    refusing.clear();
    await waitFor('no fault', WAIT_MS, () => faults.at(-1)!.length === 0);
    writeFileSync(join(root, 'f'), 'three');
    await sees('three');
  },
);

t.test('a directory that is made again while no more watches can be had', async t => {
  const root = t.testdir({ etc: { f: 'one' } });
  const { refusing, watch } = refusable();
  const { sees, faults } = await watched(t, join(root, 'etc/f'), { watch, pollMs: OFTEN });
  refusing.add(join(root, 'etc'));
  rmSync(join(root, 'etc'), { recursive: true });
  await sees(null);
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/f'), 'two');
  await sees('two');
  await waitFor('a fault', WAIT_MS, () => faults.at(-1)?.length === 1);
  writeFileSync(join(root, 'etc/f'), 'three');
  await sees('three');
});

t.test('a file system that tells nothing: the file is read again all the same', async t => {
  const file = join(t.testdir({ f: 'one' }), 'f');
  const silent = ((directory: string) => fs.watch(directory, () => {})) as typeof fs.watch;
  const { sees, faults } = await watched(t, file, { watch: silent, pollMs: { unwatched: 50, always: 50 } });
  writeFileSync(file, 'two');
  await sees('two');
  t.same(faults, []);
});

t.test("inotify's limits are 0: what the kernel answers is told", async t => {
  const file = join(t.testdir({ f: 'one' }), 'f');
  const program = `
    import { FileWatch } from '${new URL('../../host/daemon/file-watch.js', import.meta.url)}';
    FileWatch.start({
      file: '${file}',
      log: { warn() {} },
      onChange: () => process.exit(0),
      onFaults: lines => console.log(lines.join('|')),
    });`;
  for (const limit of ['max_inotify_watches', 'max_inotify_instances']) {
    const script = `echo 0 >/proc/sys/user/${limit}; exec node --input-type=module -e "$0"`;
    const argv = ['--user', '--map-root-user', 'sh', '-ec', script, program];
    const { stdout } = await promisify(execFile)('unshare', argv, { env: { PATH: process.env.PATH } });
    t.match(stdout, /--watch: .* cannot be watched \((ENOSPC|EMFILE): /, limit);
  }
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
