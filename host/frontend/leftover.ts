/** Routes that a BIRD left which was killed, where no other one comes to take them over. */
import { type Run, run } from '../programs/command.js';
import { EGRESS_TABLE } from '../types/marks.js';
import { FAMILIES, type FrontendLog } from './wanted.js';

/** Remove BIRD's routes from its table; that of others stays. What cannot be removed is logged. */
export async function removeLeftRoutes(log: FrontendLog, command: Run = run): Promise<void> {
  for (const family of FAMILIES) {
    const args = [`-${family}`, 'route', 'flush', 'table', String(EGRESS_TABLE), 'proto', 'bird'];
    const { exitCode, stderr } = await command('ip', args, { allowFailure: true });
    // A table without a route is none.
    if (exitCode !== 0 && !/table does not exist/.test(stderr)) {
      log.warn({ family, answer: stderr.trim() }, "BIRD's routes could not be removed");
    }
  }
}
