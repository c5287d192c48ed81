import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { Child } from '../../host/programs/child.js';

/** A zombie that nobody collects yet has ended too. */
function lives(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 1000) throw new Error(`not so after 20 s: ${what}`);
    await delay(20);
  }
}

t.test('lines of stdout and stderr arrive, and the end is told in words', async t => {
  const lines: string[] = [];
  const options = {
    onLine: (line: string) => lines.push(`out ${line}`),
    onErrorLine: (line: string) => lines.push(`err ${line}`),
  };
  const child = Child.start('sh', ['-c', 'echo one; echo two; echo three >&2; exit 3'], options);
  t.equal(await child.ended, 'exit code 3');
  t.strictSame(lines.sort(), ['err three', 'out one', 'out two']);
  t.ok(child.hasEnded);
  t.equal(await Child.start('no-such-program', []).ended, 'no-such-program is not installed');
});

t.test('stop asks first, and kills what does not listen', async t => {
  const polite = Child.start('sleep', ['1000']);
  await polite.stop(60_000);
  t.equal(await polite.ended, 'signal SIGTERM');
  let ready = false;
  const deaf = Child.start('sh', ['-c', 'trap "" TERM; echo ready; while true; do sleep 0.1; done'], {
    onLine: () => {
      ready = true;
    },
  });
  await until('the shell ignores SIGTERM', () => ready);
  await deaf.stop(100);
  t.equal(await deaf.ended, 'signal SIGKILL');
});

t.test('a child dies with its parent, also when that is killed', async t => {
  const module = new URL('../../host/programs/child.js', import.meta.url).href;
  const program = `
    import { Child } from '${module}';
    const child = Child.start('sh', ['-c', 'echo $$; exec sleep 1000'], { onLine: pid => console.log(pid) });
    setInterval(() => {}, 1000);
  `;
  const env = { ...process.env, NODE_OPTIONS: '' };
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], { env });
  let text = '';
  parent.stdout.on('data', chunk => {
    text += chunk;
  });
  await until('the child tells its pid', () => text.includes('\n'));
  const pid = Number(text.trim());
  t.ok(lives(pid), 'it runs');
  parent.kill('SIGKILL');
  await until('the child is gone', () => !lives(pid));
  t.pass('it ended with its parent');
});
