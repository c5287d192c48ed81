/** The log of a process of its own: what is printed at its end counts too. */
import { execFileSync } from 'node:child_process';
import t from 'tap';

function logged(program: string): Record<string, unknown>[] {
  const module = new URL('../../host/daemon/log.js', import.meta.url).href;
  const source = `
    import { createLog, logLosses } from '${module}';
    const log = createLog('info');
    ${program}
  `;
  const text = execFileSync(
    'sh',
    ['-c', 'exec "$0" "$@" 2>&1', process.execPath, '--input-type=module', '-e', source],
    {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    },
  );
  return text
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
