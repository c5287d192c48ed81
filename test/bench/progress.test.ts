/** What a benchmark says while it measures, and its help. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Progress } from '../../scripts/bench/progress.js';
import { usageText } from '../../scripts/bench/usage.js';

/** @param seconds the clock, one reading after the other */
function written(isTTY: boolean, seconds: readonly number[], steps: number): string {
  let text = '';
  let at = 0;
  const output = { isTTY, write: (part: string) => (text += part) };
  const progress = new Progress(
    'bench:queue',
    output,
    () => 1000 * seconds[Math.min(at++, seconds.length - 1)]!,
  );
  progress.begin('TCP throughput', 54);
  for (let step = 0; step < steps; step++) progress.step();
  progress.end();
  return text;
}

t.test('a pipe gets a line when a part begins, and one at most each 5 s', async t => {
  const text = written(false, [0, 1, 2, 3, 6, 6, 7], 4);
  t.equal(
    text,
    'bench:queue: TCP throughput, 0 of 54, after 1 s\nbench:queue: TCP throughput, 3 of 54, after 6 s\n',
  );
});

t.test('a terminal has one line, written again at each step', async t => {
  const text = written(true, [0, 1, 2, 3], 2);
  const line = (done: number, seconds: number) =>
    `\r\x1b[Kbench:queue: TCP throughput, ${done} of 54, after ${seconds} s`;
  t.equal(text, `${line(0, 1)}${line(1, 2)}${line(2, 3)}\n`);
});

t.test('the usage names each option with its default', async t => {
  const text = usageText('bench:cli', 'About.', {
    json: { type: 'boolean', default: false, help: 'one JSON document' },
    rounds: { type: 'string', default: '9', help: 'rounds' },
    nfqlb: { type: 'string', value: 'PATH', help: 'an nfqlb' },
  });
  t.match(text, 'usage: npm run bench:cli -- [options]');
  t.match(text, /^ {2}--json +one JSON document$/m);
  t.match(text, /^ {2}--rounds N +rounds \(default 9\)$/m);
  t.match(text, /^ {2}--nfqlb PATH +an nfqlb$/m);
});

t.test('every benchmark prints its help and measures nothing', async t => {
  for (const name of ['bench', 'core', 'classifier', 'queue', 'rules', 'targets', 'cli']) {
    const script = fileURLToPath(new URL(`../../scripts/bench/${name}.js`, import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--help'], { encoding: 'utf8' });
    t.equal(status, 0, `${name}: ${stderr}`);
    t.match(stdout, new RegExp(`^usage: npm run bench(:${name})? -- \\[options\\]`), name);
    t.match(stdout, '--json', name);
  }
});
