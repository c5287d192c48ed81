/** Builds the image, which takes minutes where nothing of it is there, and then has image.ts run it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const SETUP = fileURLToPath(new URL('../../../scripts/container/setup', import.meta.url));
/** What the script ends with where a machine cannot run containers. */
const LACKING = 2;

t.setTimeout(20 * 60_000);
const child = spawn(SETUP, { stdio: ['ignore', 'inherit', 'pipe'] });
child.stderr.pipe(process.stderr);
const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
if (code === LACKING && !process.env.CI) {
  process.stderr.write(`\nTHE IMAGE IS NOT TESTED: no containers on this machine.\n${said}\n`);
  t.plan(0, `no containers: ${said.trim().split('\n').at(-1)}`);
} else if (code !== 0) {
  t.comment(said);
  t.fail(`the image is built; exit code ${code}`);
} else {
  await import('./image.js');
}
