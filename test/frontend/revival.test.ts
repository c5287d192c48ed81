import t from 'tap';
import { bfdOutlook } from '../../host/frontend/bfd-ports.js';
import { Revival } from '../../host/frontend/revival.js';
import type { SessionState } from '../../host/frontend/session.js';
import type { BgpGateway } from '../../host/types/config.js';
import { FakeClock } from '../fixture/clock.js';

const GATEWAY: BgpGateway = {
  name: 'a',
  protocol: 'bgp',
  ips: [{ family: 4, address: '10.0.0.1' }],
  bfd: null,
  localAsn: 1,
  remoteAsn: 2,
  localPort: 179,
  remotePort: 179,
  holdTimeSeconds: 9,
  passwordFile: null,
};
const NAME = 'gateway-10.0.0.1';
const inUse = (name: string) => `${name}: Socket error: bind: Address already in use`;

t.test('a protocol that is down is enabled again, with longer waits between', async t => {
  const clock = new FakeClock();
  const revival = new Revival(clock);
  const at: number[] = [];
  for (let ms = 0; ms <= 30_000; ms += 50) {
    await clock.until(ms);
    const commands = revival.due([NAME], 'all-up');
    t.ok(commands.every(command => command === `enable "${NAME}"`));
    if (commands.length > 0) {
      at.push(ms);
      revival.hear(inUse(NAME));
    }
  }
  const waits = at.map((ms, index) => ms - (at[index - 1] ?? 0));
  t.strictSame(waits.slice(0, 4), [100, 200, 400, 800]);
  t.ok(Math.max(...waits) <= 10_000, `${waits}`);
});

t.test('the warning names the port and the cause, and ends when the protocol runs', async t => {
  const clock = new FakeClock();
  const revival = new Revival(clock);
  revival.hear(inUse(NAME));
  revival.hear(`${NAME}: Cannot open listening socket`);
  revival.due([NAME], 'all-up');
  t.strictSame(revival.warnings([GATEWAY]), [
    'gateway a, 10.0.0.1: BIRD cannot listen on port 179: another program uses it (see ss -lntup); BIRD tries again',
  ]);
  await clock.until(100);
  t.strictSame(revival.due([NAME], 'all-up'), [`enable "${NAME}"`]);
  await clock.until(150);
  t.strictSame(revival.due([], 'all-up'), [], 'it starts');
  t.equal(revival.warnings([GATEWAY]).length, 1, 'and may fail yet');
  await clock.until(2200);
  revival.due([], 'all-up');
  t.strictSame(revival.warnings([GATEWAY]), []);
});

t.test('a missing capability is named', async t => {
  const revival = new Revival(new FakeClock());
  revival.hear(`${NAME}: Socket error: bind: Permission denied`);
  t.match(revival.reason(GATEWAY, '10.0.0.1'), /port 179: permission denied: .*NET_BIND_SERVICE/);
});

t.test('a session that ended for another reason is a warning too', async t => {
  const revival = new Revival(new FakeClock());
  revival.due([NAME], 'all-up');
  t.match(revival.warnings([GATEWAY]), [/^gateway a, 10\.0\.0\.1: BIRD has ended the session/]);
  t.equal(revival.reason(GATEWAY, '10.0.0.1'), null, 'BIRD tells the reason in its listing');
});

t.test('BFD is restarted while none of its sessions is up', async t => {
  const clock = new FakeClock();
  const revival = new Revival(clock);
  revival.hear(inUse('bfd-gateways'));
  revival.due([], 'retry');
  t.match(revival.warnings([GATEWAY]), [/^BIRD cannot open the ports of BFD .*another program uses it/]);
  await clock.until(200);
  t.strictSame(revival.due([], 'waits'), [], 'a restart would end the session that is up');
  t.strictSame(revival.due([], 'retry'), ['restart "bfd-gateways"']);
  t.strictSame(revival.due([], 'retry'), [], 'it is given time');
  revival.hear(inUse('bfd-gateways'));
  await clock.until(500);
  t.strictSame(revival.due([], 'retry'), ['restart "bfd-gateways"'], 'the error came again');
  await clock.until(3000);
  revival.due([], 'retry');
  t.strictSame(revival.warnings([GATEWAY]), [], 'no error came again');
});

t.test('BFD whose sessions are all up misses nothing', async t => {
  const revival = new Revival(new FakeClock());
  revival.hear(inUse('bfd-gateways'));
  t.strictSame(revival.due([], 'all-up'), []);
  t.strictSame(revival.warnings([GATEWAY]), []);
});

t.test('a restart of BFD is due where it ends no session, or the missing port is free', async t => {
  const session = (family: 4 | 6, bfd: SessionState['bfd']) => ({ family, bfd }) as SessionState;
  const outlook = (sessions: SessionState[], free: boolean) => bfdOutlook(sessions, async () => free);
  t.equal(await outlook([session(4, 'up'), session(6, 'none')], false), 'all-up');
  t.equal(await outlook([session(4, 'down'), session(6, 'down')], false), 'retry');
  t.equal(await outlook([session(4, 'down'), session(6, 'up')], false), 'waits');
  t.equal(await outlook([session(4, 'down'), session(6, 'up')], true), 'retry');
  t.equal(await outlook([session(4, 'down'), session(4, 'up')], true), 'waits', 'its port is open');
});

t.test('other errors of sockets are no reason', async t => {
  const revival = new Revival(new FakeClock());
  revival.hear('bfd-gateways: Socket error: Network is unreachable');
  t.strictSame(revival.due([], 'retry'), []);
  t.strictSame(revival.warnings([GATEWAY]), []);
});
