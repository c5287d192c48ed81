import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { insideNamespace } from '../kernel/namespace.js';
import {
  allUp,
  egressTable,
  endNetwork,
  makeNetwork,
  openFrontend,
  startRouter,
  until,
  VIP4,
  VIP6,
  wantedFrontend,
} from './network.js';

if (insideNamespace(import.meta.url)) {
  t.setTimeout(300_000);
  makeNetwork(2);
  t.teardown(endNetwork);

  t.test('sessions come up, VIPs are announced, and table 4096 reads as in the reference', async t => {
    const router = await startRouter(0);
    const { frontend, files, log } = openFrontend();
    t.teardown(async () => {
      await frontend.stop();
      await router.stop();
    });
    await frontend.set(wantedFrontend());
    t.comment(`up after ${await until('sessions are up', () => allUp(frontend.state()))} ms`);
    t.comment(JSON.stringify(frontend.state(), null, 1));
    await until(
      'the router knows the VIPs',
      async () => (await router.knows(VIP4)) && (await router.knows(VIP6)),
    );
    await until('routes', () => egressTable(4) !== '' && egressTable(6) !== '');
    t.equal(egressTable(4), 'default via 169.254.100.150 dev ext-vlan0 proto bird metric 32 \n');
    t.equal(egressTable(6), 'default via 100:100::150 dev ext-vlan0 proto bird metric 32 pref medium\n');
    t.comment(log.lines.join('\n'));
    t.equal(statSync(join(files, 'bird.conf')).mode & 0o777, 0o600);
    await frontend.stop();
    t.notOk(existsSync(files));
    t.equal(egressTable(4), '');
  });
}
