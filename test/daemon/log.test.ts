/** The log of a process of its own: what is printed at its end counts too. */
import { execFileSync } from 'node:child_process';
import t from 'tap';

function loggedText(program: string): string {
  const module = new URL('../../host/daemon/log.js', import.meta.url).href;
  const source = `
    import { createLog, logLosses } from '${module}';
    const log = createLog('info');
    ${program}
  `;
  return execFileSync(
    'sh',
    ['-c', 'exec "$0" "$@" 2>&1', process.execPath, '--input-type=module', '-e', source],
    {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    },
  );
}

function logged(program: string): Record<string, unknown>[] {
  return loggedText(program)
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>);
}

t.test('a warning or an error that repeats is one line, and one that says how often it came', t => {
  const lines = logged(`
    for (let n = 0; n < 40; n++) {
      log.warn({ mended: ['rule'] }, 'mended');
      log.error({ err: new Error('no') }, 'failed');
    }
    log.warn('mended');
    log.info('stopped');
  `);
  t.match(lines, [
    { level: 'warn', msg: 'mended', mended: ['rule'] },
    { level: 'error', msg: 'failed', err: { message: 'no', stack: /Error/ } },
    { level: 'warn', msg: 'mended' },
    { level: 'info', msg: 'stopped' },
    { level: 'warn', msg: 'mended: repeated 39 times in 1 s', mended: ['rule'], count: 39 },
    { level: 'error', msg: 'failed: repeated 39 times in 1 s', count: 39 },
  ]);
  t.equal(lines.length, 6);
  t.end();
});

t.test('other fields are another line; what is no warning, and answers to somebody, come each time', t => {
  const lines = logged(`
    for (let n = 0; n < 3; n++) {
      log.warn({ n }, 'mended');
      log.info('reloaded');
      log.error({ faults: ['x'] }, 'reload refused');
    }
  `);
  t.equal(lines.length, 9);
  t.end();
});

t.test('no line of the log steers a terminal, and each is the same JSON as before', t => {
  const hostile = '\x1b[2J\x9b31m\u202e\u{e0041}';
  const source = JSON.stringify(hostile);
  const [line, ...rest] = logged(`
    log.info({ file: ${source} }, ${source});
  `);
  t.match(line, { file: hostile, msg: hostile });
  t.strictSame(rest, []);
  const text = loggedText(`log.info({ file: ${source} }, ${source});`);
  t.notMatch(text, /(?!\n)[\p{Cc}\p{Cf}]/u);
  t.end();
});
