/** Names and arguments from outside do not steer the terminal of a person who runs a command. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { MAGMARK, NFQLB } from '../../scripts/lab/daemon.js';

const CONFIG = fileURLToPath(new URL('../../../scripts/lab/config.yaml', import.meta.url));
/** ESC, the same as one character of C1, a line end, and a mark that reverses what follows. */
const HOSTILE = '\x1b[2J\x9b31m\n\u202e';
const STEERS = /(?!\n)[\p{Cc}\p{Cf}]/u;

const directory = t.testdir({});
const valid = join(directory, `${HOSTILE}valid.yaml`);
const faulty = join(directory, `${HOSTILE}faulty.yaml`);
const absent = join(directory, `${HOSTILE}absent.yaml`);
copyFileSync(CONFIG, valid);
writeFileSync(faulty, `vips: [${JSON.stringify(HOSTILE)}]\n`);

const ROWS: readonly (readonly [program: string, argv: readonly string[], code: number])[] = [
  [MAGMARK, ['validate', valid], 0],
  [MAGMARK, ['validate', '--json', valid], 0],
  [MAGMARK, ['validate', faulty], 1],
  [MAGMARK, ['validate', '--json', faulty], 1],
  [MAGMARK, ['validate', absent], 1],
  [MAGMARK, ['validate', '--json', absent], 1],
  [MAGMARK, ['explain', '--config', valid, HOSTILE], 1],
  [MAGMARK, ['status', '--socket', absent], 1],
  [MAGMARK, ['status', '--json', '--socket', absent], 1],
  [MAGMARK, [HOSTILE], 1],
  [MAGMARK, ['status', `--${HOSTILE}`], 1],
  [MAGMARK, ['status', '--json', `--${HOSTILE}`], 1],
  [NFQLB, [HOSTILE], 1],
  [NFQLB, ['show', `--shm=${HOSTILE}`], 1],
];

for (const [program, argv, code] of ROWS)
  t.test(JSON.stringify(argv.map(each => each.replace(directory, ''))), async t => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...argv], {
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', MAGMARK_SOCKET: join(directory, 'nowhere') },
    });
    t.equal(status, code, stderr);
    t.notMatch(stdout, STEERS);
    t.notMatch(stderr, STEERS);
    t.ok(`${stdout}${stderr}`.length > 0);
  });
