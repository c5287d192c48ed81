import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { namespaceFile, ownRunDirectory } from '../../host/control/socket.js';
import { FileLock, holderOf, isLocked } from '../../host/lock/file-lock.js';
import { lockNamespace, lockSocket, someoneStarts } from '../../host/lock/namespace-lock.js';
import { insideNamespace } from '../queue/namespace.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

const directory = mkdtempSync(join(tmpdir(), 'magmark-lock-'));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test('one open file at a time holds the lock, in this process as among several', async t => {
  const path = join(directory, 'one');
  t.notOk(isLocked(path), 'there is no file');
  const first = FileLock.take(path)!;
  t.ok(isLocked(path));
  t.equal(FileLock.take(path), null);
  t.match(holderOf(path), new RegExp(`^pid ${process.pid}, since \\d{4}-\\d\\d-\\d\\dT`));
  t.equal(statSync(path).mode & 0o777, 0o600);
  first.release();
  first.release();
  t.notOk(existsSync(path), 'no file is left');
  const second = FileLock.take(path);
  t.ok(second);
  second!.release();
});

t.test('a lock dies with its process, and its children do not inherit it', async t => {
  const path = join(directory, 'killed');
  const module = new URL('../../host/lock/file-lock.js', import.meta.url).href;
  const program = `const { FileLock } = await import(${JSON.stringify(module)});
    const { spawn } = await import('node:child_process');
    FileLock.take(${JSON.stringify(path)});
    const child = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
    console.log(child.pid);
    setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [sleeper] = (await once(holder.stdout!, 'data')) as [Buffer];
  t.teardown(() => process.kill(Number(`${sleeper}`)));
  t.ok(isLocked(path));
  t.match(holderOf(path), `pid ${holder.pid}`);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  t.notOk(isLocked(path));
  t.ok(existsSync(path), 'the file is left, and the next one takes it');
  const next = FileLock.take(path);
  t.match(holderOf(path), `pid ${process.pid},`);
  next!.release();
});

t.test('asking for a lock never makes a taker fail', async t => {
  const path = join(directory, 'asked');
  const module = new URL('../../host/lock/file-lock.js', import.meta.url).href;
  const program = `const { isLocked } = await import(${JSON.stringify(module)});
    console.log('asking');
    while (true) isLocked(${JSON.stringify(path)});`;
  const asker = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => asker.kill('SIGKILL'));
  await once(asker.stdout!, 'data');
  for (let turn = 0; turn < 300; turn++) {
    const lock = FileLock.take(path);
    if (lock === null) return t.fail(`turn ${turn}`);
    lock.release();
  }
});

t.test('a link, a directory and a file of another user are refused, and name the path', async t => {
  const path = join(directory, 'foreign');
  const victim = join(directory, 'victim');
  symlinkSync(victim, path);
  t.throws(() => FileLock.take(path), {
    code: 'ENVIRONMENT',
    message: `open lock ${path}: it is a symbolic link: remove it`,
  });
  t.notOk(existsSync(victim), 'the link was not followed');
  rmSync(path);
  writeFileSync(path, '');
  chownSync(path, 65534, 65534);
  t.throws(() => FileLock.take(path), { message: `lock ${path} belongs to user 65534, not to 0: remove it` });
  rmSync(path);
  execFileSync('mkfifo', [path]);
  t.throws(() => FileLock.take(path), { message: `lock ${path} is no regular file: remove it` });
});

t.test('the run directory is closed to others, or refused', async t => {
  const path = join(directory, 'run');
  ownRunDirectory(path);
  chmodSync(path, 0o777);
  ownRunDirectory(path);
  t.equal(statSync(path).mode & 0o777, 0o755, 'as a volume of a container engine is');
  chownSync(path, 65534, 65534);
  t.throws(() => ownRunDirectory(path), {
    message: `${path} belongs to user 65534, neither to root nor to 0`,
  });
  writeFileSync(`${path}-file`, '');
  t.throws(() => ownRunDirectory(`${path}-file`), { message: `${path}-file is no directory` });
});

t.test('an abstract socket with the name of the former lock keeps nobody from starting', async t => {
  const servers = ['\0magmark', '\0magmark-start'].map(name => createServer().listen(name));
  await Promise.all(servers.map(server => once(server, 'listening')));
  t.teardown(() => {
    for (const server of servers) server.close();
  });
  const locks = [lockNamespace('start'), lockNamespace('charge')];
  const holder = new RegExp(
    `another magmark runs in this network namespace \\(net:\\[\\d+\\]\\): pid ${process.pid}, since `,
  );
  t.throws(() => lockNamespace('charge'), { code: 'CLASH', message: holder });
  for (const lock of locks) lock.release();
});

t.test('commands see that a daemon starts', async t => {
  const socket = join(directory, 's.sock');
  t.notOk(someoneStarts(socket));
  const lock = lockNamespace('start');
  t.ok(someoneStarts(socket));
  lock.release();
  t.notOk(someoneStarts(socket));
  const other = lockSocket(socket);
  t.ok(someoneStarts(socket));
  t.notOk(someoneStarts(`${socket}-other`));
  t.throws(() => lockSocket(socket), {
    code: 'CLASH',
    message: `another dataplane starts at ${socket}: pid ${process.pid}`,
  });
  other.release();
  t.notOk(existsSync(namespaceFile('start.lock')));
});
