/** Checks by real sockets, marks and routes. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { type CheckedTarget, HealthChecker } from '../../host/health/checker.js';
import { SocketProber } from '../../host/health/prober.js';
import type { HealthCheck, Host } from '../../host/types/config.js';
import { insideNamespace, shell } from '../kernel/namespace.js';
import { until } from '../queue/namespace.js';
import {
  connect,
  FIRST,
  HOLE,
  makeTopology,
  type Place,
  PORT,
  SECOND,
  serve,
  VIP,
  VIP6,
} from './topology.js';

const TIMEOUT_MS = 150;
/** No machine is that slow: who is asked answers, sooner or later. */
const LONG_MS = 30_000;

function checkOf(type: HealthCheck['type'], more: Partial<HealthCheck> = {}): HealthCheck {
  const port = type === 'icmp' ? null : PORT.http;
  const path = type === 'http' ? '/status/200' : null;
  return { type, port, path, intervalMs: 100, timeoutMs: LONG_MS, rise: 2, fall: 3, ...more };
}

if (insideNamespace(import.meta.url)) {
  const { default: t } = await import('tap');
  makeTopology();
  const servers = await Promise.all([serve(FIRST), serve(SECOND)]);
  process.on('exit', () => {
    for (const server of servers) server.kill('SIGKILL');
  });
  // Checks keep no process alive.
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  const prober = new SocketProber();

  /** null, or the failure. */
  const ask = (place: Place, host: Host, check: HealthCheck) =>
    prober.ask({ host, fwmark: place.fwmark, check }).failure;
  const late = (check: HealthCheck): HealthCheck => ({ ...check, timeoutMs: TIMEOUT_MS });
  /** As `late`, behind a connection, which even a busy machine has made by then. */
  const connected = (check: HealthCheck): HealthCheck => ({ ...check, timeoutMs: 10 * TIMEOUT_MS });

  t.test('a check reaches the target of its mark, though another has the same VIP', async t => {
    for (const vip of [VIP, VIP6]) {
      const path = `/sequence/204,404/${vip.family}`;
      const check = checkOf('http', { path });
      t.equal(await ask(FIRST, vip, check), null, 'the first time, at the first');
      t.equal(await ask(SECOND, vip, check), null, 'the first time, at the second');
      const place = vip.family === 6 ? '[2000::1]:80' : '20.0.0.1:80';
      t.equal(await ask(FIRST, vip, check), `GET http://${place}${path} by mark 5044: status 404`);
    }
  });

  t.test('a server that is bound to the VIP alone answers there, and not at the own address', async t => {
    for (const [index, vip] of [VIP, VIP6].entries()) {
      t.equal(await ask(FIRST, vip, checkOf('tcp')), null);
      const own = FIRST.ips[index]!;
      t.match(await ask(FIRST, own, checkOf('tcp')), /^connect to \S+:80 by mark 5044: ECONNREFUSED$/);
    }
  });

  t.test('what refuses, or takes no packet, fails with the reason', async t => {
    const closed = { port: PORT.closed };
    t.equal(
      await ask(FIRST, VIP, checkOf('tcp', closed)),
      'connect to 20.0.0.1:82 by mark 5044: ECONNREFUSED',
    );
    t.equal(
      await ask(FIRST, VIP6, checkOf('http', closed)),
      'GET http://[2000::1]:82/status/200 by mark 5044: ECONNREFUSED',
    );
    t.equal(
      await ask(HOLE, VIP, late(checkOf('tcp'))),
      'connect to 20.0.0.1:80 by mark 5099: no answer within 150 ms',
    );
    t.equal(
      await ask(HOLE, VIP6, late(checkOf('http'))),
      'GET http://[2000::1]:80/status/200 by mark 5099: no connection within 150 ms',
    );
    t.equal(
      await ask(HOLE, HOLE.ips[0], late(checkOf('icmp'))),
      'ping 172.16.1.99 by mark 5099: no answer within 150 ms',
    );
  });

  t.test('a port NAT takes the answers of a VIP away, and not those of another address', async t => {
    shell('nft add table inet meridio-nat');
    shell(`nft 'add chain inet meridio-nat nat { type filter hook prerouting priority 100; }'`);
    shell('nft add rule inet meridio-nat nat ip saddr 20.0.0.1 tcp sport 80 tcp sport set 8080');
    t.match(
      await ask(FIRST, VIP, late(checkOf('tcp'))),
      /no answer/,
      'this is why `askedHosts` passes it over',
    );
    t.equal(await ask(FIRST, VIP6, checkOf('tcp')), null);
    shell('nft delete table inet meridio-nat');
    t.equal(await ask(FIRST, VIP, checkOf('tcp')), null);
  });

  t.test('a server that accepts and says nothing is well for tcp and not for http', async t => {
    const silent = { port: PORT.silent };
    t.equal(await ask(FIRST, VIP, checkOf('tcp', silent)), null);
    const failure = await ask(FIRST, VIP, connected(checkOf('http', { ...silent, path: '/' })));
    t.equal(failure, 'GET http://20.0.0.1:81/ by mark 5044: no response within 1500 ms');
  });

  t.test('status 200 to 399 is an answer, redirects are not followed, bodies not awaited', async t => {
    const status = (code: number) => ask(FIRST, VIP, checkOf('http', { path: `/status/${code}` }));
    for (const code of [200, 204, 301, 399]) t.equal(await status(code), null, `${code}`);
    for (const code of [400, 404, 500, 503]) {
      t.equal(await status(code), `GET http://20.0.0.1:80/status/${code} by mark 5044: status ${code}`);
    }
    t.equal(await ask(FIRST, VIP, checkOf('http', { path: '/body' })), null);
    t.match(await ask(FIRST, VIP, checkOf('http', { path: '/headers' })), /header/i);
    t.match(
      await ask(FIRST, VIP, connected(checkOf('http', { path: '/silent' }))),
      /no response within 1500 ms/,
    );
  });

  for (const [kind, range] of [
    ['raw', '1 0'],
    ['ping', '0 0'],
  ]) {
    t.test(`icmp by a ${kind} socket goes by the mark and takes the right answer alone`, async t => {
      shell(`sysctl -q net.ipv4.ping_group_range='${range}'`);
      const own = new SocketProber();
      const ping = (place: Place, host: Host, timeoutMs = LONG_MS) =>
        own.ask({ host, fwmark: place.fwmark, check: checkOf('icmp', { timeoutMs }) }).failure;
      for (const place of [FIRST, SECOND]) {
        for (const host of place.ips) t.equal(await ping(place, host), null, host.address);
      }
      for (const [index, host] of FIRST.ips.entries()) {
        t.equal(
          await ping(SECOND, host, TIMEOUT_MS),
          `ping ${host.address} by mark 5073: no answer within 150 ms`,
          'the second is handed the packet, and it is not his',
        );
        const many = Array.from({ length: 1000 }, (_, n) => {
          const place = n % 2 === 0 ? FIRST : SECOND;
          return ping(place, place.ips[index]!);
        });
        t.strictSame(new Set(await Promise.all(many)), new Set([null]), 'a thousand at a time');
      }
      const nft = `ip netns exec ${FIRST.name} nft`;
      shell(`${nft} add table inet lie`);
      shell(`${nft} 'add chain inet lie out { type filter hook output priority 0; }'`);
      shell(`${nft} add rule inet lie out icmp type echo-reply ip saddr set 172.16.1.77`);
      shell(`${nft} add rule inet lie out icmpv6 type echo-reply ip6 saddr set fd00:0:0:1::77`);
      for (const host of FIRST.ips) {
        t.match(await ping(FIRST, host, TIMEOUT_MS), /no answer/, 'an answer from elsewhere is none');
      }
      shell(`${nft} delete table inet lie`);
      t.equal(await ping(FIRST, FIRST.ips[0]), null);
      own.close();
    });
  }

  t.test('an answer that came while this process was busy is no failure', async t => {
    const checks = [
      ask(FIRST, VIP, checkOf('tcp', { timeoutMs: 50 })),
      ask(FIRST, FIRST.ips[0], checkOf('icmp', { timeoutMs: 50 })),
    ];
    await new Promise(resolve => setImmediate(resolve));
    const end = performance.now() + 500;
    while (performance.now() < end);
    t.strictSame(await Promise.all(checks), [null, null]);
  });

  t.test('a target that flaps falls and rises by exact counts', async t => {
    // As it is logged, which is at once: of `onChange`, a little later, the next check may have been answered.
    const told: string[] = [];
    const heard = () => {
      const { health, answers, failures } = checker.state('s/44')!;
      told.push(`${health} ${answers} ${failures}`);
    };
    let changes = 0;
    const onChange = () => {
      changes++;
    };
    const checker = new HealthChecker({ log: { info: heard, warn: heard }, onChange });
    const path = '/sequence/200,500,500,200,500,404,503,500,200,500,302,204/flap';
    const target: CheckedTarget = { ...FIRST, key: 's/44', check: checkOf('http', { path }), asked: [VIP] };
    checker.set([target]);
    await until('it is healthy again', () => told.length === 3);
    t.strictSame(told, ['healthy 1 0', 'unhealthy 0 3', 'healthy 2 0']);
    await until('that is told', () => changes > 0);
    await checker.stop();
  });

  t.test('a target of two families must answer in both', async t => {
    const lines: string[] = [];
    const warn = (_fields: object, message: string) => lines.push(message);
    const checker = new HealthChecker({ log: { info() {}, warn }, onChange() {} });
    const check = checkOf('icmp', { timeoutMs: 300 });
    checker.set([{ ...FIRST, key: 's/44', check, asked: FIRST.ips }]);
    await until('it is healthy', () => checker.state('s/44')?.health === 'healthy');
    shell(`ip -n ${FIRST.name} -6 addr del ${FIRST.ips[1].address}/64 dev conduit`);
    await until('it is unhealthy', () => checker.state('s/44')?.health === 'unhealthy');
    t.match(lines, [/^target s\/44 is unhealthy: ping fd00:0:0:1::6 by mark 5044: no answer within 300 ms$/]);
    shell(`ip -n ${FIRST.name} -6 addr add ${FIRST.ips[1].address}/64 dev conduit nodad`);
    await until('it is healthy again', () => checker.state('s/44')?.health === 'healthy');
    t.equal(checker.state('s/44')?.reason, null);
    await checker.stop();
  });

  t.test('thousands of checks leave no descriptor and no connection behind', async t => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    const kinds: (() => Promise<string | null>)[] = [
      () => ask(FIRST, VIP, checkOf('tcp')),
      () => ask(SECOND, VIP6, checkOf('http')),
      () => ask(FIRST, VIP, checkOf('http', { path: '/status/500' })),
      () => ask(FIRST, VIP6, checkOf('tcp', { port: PORT.closed })),
      () => ask(HOLE, VIP, late(checkOf('tcp'))),
      () => ask(HOLE, VIP, late(checkOf('http'))),
      () => ask(FIRST, VIP, late(checkOf('http', { port: PORT.silent }))),
      () => ask(FIRST, FIRST.ips[0], checkOf('icmp')),
    ];
    for (let round = 0; round < 25; round++) {
      await Promise.all(kinds.flatMap(kind => Array.from({ length: 16 }, kind)));
      const given =
        kinds.map(kind => kind()) && prober.ask({ host: VIP, fwmark: 5044, check: checkOf('http') });
      given.cancel();
      await given.failure;
    }
    await until('all descriptors are closed', () => descriptors() <= before);
    t.equal(shell('ss -tanH state time-wait').trim(), '', 'nothing in TIME_WAIT');
  });

  t.test('a link that is down, and one that is back', async t => {
    shell('ip link set conduit down');
    const kernel = 'EINVAL: there is no route by this mark';
    const [own, own6] = FIRST.ips;
    t.equal(await ask(FIRST, VIP, checkOf('tcp')), `connect to 20.0.0.1:80 by mark 5044: ${kernel}`);
    t.equal(await ask(FIRST, VIP6, checkOf('tcp')), `connect to [2000::1]:80 by mark 5044: ${kernel}`);
    t.equal(await ask(FIRST, own, checkOf('icmp')), `ping 172.16.1.6 by mark 5044: send: ${kernel}`);
    t.equal(await ask(FIRST, own6, checkOf('icmp')), `ping fd00:0:0:1::6 by mark 5044: send: ${kernel}`);
    connect();
    for (const host of [VIP, VIP6]) t.equal(await ask(FIRST, host, checkOf('tcp')), null);
    for (const host of FIRST.ips) t.equal(await ask(FIRST, host, checkOf('icmp')), null);
  });

  t.test('a right that is missing is named', async t => {
    shell(`sysctl -q net.ipv4.ping_group_range='1 0'`);
    const module = new URL('../../host/health/prober.js', import.meta.url).href;
    const script = `
      const { SocketProber } = await import('${module}');
      const prober = new SocketProber();
      const check = { port: 80, path: null, intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 1 };
      const host = { family: 4, address: '172.16.1.6' };
      for (const type of ['icmp', 'tcp']) {
        console.log(await prober.ask({ host, fwmark: 5044, check: { ...check, type } }).failure);
      }`;
    const dropped = ['--inh-caps=-net_raw,-net_admin', '--bounding-set=-net_raw,-net_admin'];
    const parameters = [...dropped, process.execPath, '--input-type=module', '-e', script];
    const { stdout } = spawnSync('setpriv', parameters, { encoding: 'utf8' });
    t.strictSame(stdout.trim().split('\n'), [
      'ping 172.16.1.6 by mark 5044: open an ICMP socket (IPv4): EPERM: the capability NET_RAW is missing, and sysctl net.ipv4.ping_group_range does not hold this group',
      'connect to 172.16.1.6:80 by mark 5044: set the mark: EPERM: the capability NET_ADMIN is missing',
    ]);
  });
}
