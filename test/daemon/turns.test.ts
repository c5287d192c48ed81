import t from 'tap';
import { Turns } from '../../host/daemon/turns.js';

const never = (): Promise<never> => new Promise(() => {});

t.test('changes come one after the other, and a failure is its own', async t => {
  const turns = new Turns();
  const seen: string[] = [];
  const first = turns.take('one', async turn => {
    await turn.step('a', async () => void seen.push('a'));
    throw new Error('broken');
  });
  const second = turns.one('two', async () => void seen.push('b'));
  await t.rejects(first, { message: 'broken' });
  await second;
  t.strictSame(seen, ['a', 'b']);
});

t.test('a step that hangs ends its change in time, by name, and the next one has its turn', async t => {
  const turns = new Turns();
  let over: AbortSignal | null = null;
  const hanging = turns.take('reload', turn =>
    turn.step(
      'read passwords',
      signal => {
        over = signal;
        return never();
      },
      20,
    ),
  );
  const next = turns.one('repair', async () => 'done');
  await t.rejects(hanging, {
    code: 'ENVIRONMENT',
    message: "the change 'reload' was given up: step 'read passwords' did not end within 0.02 s",
  });
  t.ok(over!.aborted, 'what it does later it may see');
  t.equal(await next, 'done');
});

t.test('the way back has time of its own after a step that hung', async t => {
  const turns = new Turns();
  const change = turns.take('reload', async turn => {
    await turn.step('ruleset', never, 10).catch(() => undefined);
    return turn.step('undo', async () => 'undone');
  });
  t.equal(await change, 'undone');
});

t.test('a step that takes long is told', async t => {
  const turns = new Turns();
  let end = (): void => {};
  const change = turns.one('reload', () => new Promise<void>(resolve => (end = resolve)));
  await new Promise(setImmediate);
  t.strictSame(turns.slow(0), ["the change 'reload' has been in step 'reload' for 0 s"]);
  t.strictSame(turns.slow(60_000), []);
  t.equal(turns.change, 'reload');
  end();
  await change;
  t.strictSame(turns.slow(0), []);
  t.equal(turns.change, null);
});

t.test('a change that is given up begins no other step', async t => {
  const turns = new Turns();
  const seen: string[] = [];
  const change = turns.take('reload', async turn => {
    await turn.step('image', never).catch(error => seen.push(error.message));
    await turn.step('ruleset', async () => seen.push('ruleset'));
  });
  await new Promise(setImmediate);
  turns.giveUpPresent('was given up for the stop');
  const words = (step: string) =>
    `the change 'reload' was given up: step '${step}' was given up for the stop`;
  await t.rejects(change, { message: words('ruleset') });
  t.strictSame(seen, [words('image')]);
});
