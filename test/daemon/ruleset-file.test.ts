/** The ruleset as a file: where it is, and that nothing of it is left. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { RulesetFile } from '../../host/daemon/ruleset-file.js';

t.test('everyone may read it; a configured place that changes is removed', async t => {
  const directory = t.testdir({});
  const at = (name: string) => join(directory, name);
  const [own, first, second] = [at('own'), at('first'), at('second')];
  const file = new RulesetFile(own);
  t.strictSame(await file.keep('one', first), []);
  t.equal(readFileSync(first, 'utf8'), 'one');
  t.equal(statSync(own).mode & 0o777, 0o644);
  t.strictSame(await file.keep('two', second), []);
  t.notOk(existsSync(first));
  t.equal(readFileSync(second, 'utf8'), 'two');
  t.strictSame(await file.remove(), []);
  t.strictSame(readdirSync(directory), []);
});

t.test('a removal follows a write that is under way', async t => {
  const directory = t.testdir({});
  const file = new RulesetFile(join(directory, 'own'));
  const kept = file.keep('one', null);
  t.strictSame(await file.remove(), []);
  await kept;
  t.strictSame(readdirSync(directory), []);
});

t.test('a place that cannot be written is a warning, and the other one is written', async t => {
  const directory = t.testdir({});
  const own = join(directory, 'own');
  const file = new RulesetFile(own);
  const [warning, ...more] = await file.keep('one', join(directory, 'missing', 'file'));
  t.match(warning, /write ruleset file .*missing.*ENOENT/);
  t.strictSame(more, []);
  t.equal(readFileSync(own, 'utf8'), 'one');
});
