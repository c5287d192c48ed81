/** The checker with a prober and a clock that the test moves. */
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { type CheckedTarget, HealthChecker } from '../../host/health/checker.js';
import type { Prober } from '../../host/health/prober.js';
import type { Question } from '../../host/health/question.js';
import type { HealthCheck, Host } from '../../host/types/config.js';
import { FakeClock, settled } from '../fixture/clock.js';

const CHECK: HealthCheck = {
  type: 'tcp',
  port: 80,
  path: null,
  intervalMs: 1000,
  timeoutMs: 500,
  rise: 2,
  fall: 3,
};
const VIP: Host = { family: 4, address: '20.0.0.1' };
const VIP6: Host = { family: 6, address: '2000::1' };

function targetOf(identifier: number, more: Partial<CheckedTarget> = {}): CheckedTarget {
  const ips = [{ family: 4, address: `172.16.${identifier >> 8}.${identifier & 255}` } as const];
  return { key: `s/${identifier}`, fwmark: 5000 + identifier, check: CHECK, ips, asked: [VIP], ...more };
}

interface Asked extends Question {
  readonly at: number;
  readonly end: (failure: string | null) => void;
  ended: boolean;
}

class FakeProber implements Prober {
  readonly asked: Asked[] = [];
  closed = false;
  /** undefined: the test ends it. */
  answer: (question: Question) => string | null | undefined = () => null;

  unasked = false;

  constructor(readonly clock: FakeClock) {}

  ask(question: Question) {
    let resolve = (_failure: string | null): void => {};
    const failure = new Promise<string | null>(done => {
      resolve = done;
    });
    const asked: Asked = {
      ...question,
      at: this.clock.now(),
      ended: false,
      end(answer) {
        this.ended = true;
        resolve(answer);
      },
    };
    this.asked.push(asked);
    const answer = this.answer(question);
    if (answer !== undefined) asked.end(answer);
    return { failure, unasked: this.unasked, cancel: () => asked.end('cancelled') };
  }

  close(): void {
    this.closed = true;
  }

  get underWay(): Asked[] {
    return this.asked.filter(({ ended }) => !ended);
  }
}

function bench(concurrency = 512) {
  const clock = new FakeClock();
  const prober = new FakeProber(clock);
  const lines: string[] = [];
  let changes = 0;
  const log = {
    info: (_fields: object, message: string) => lines.push(message),
    warn: (_fields: object, message: string) => lines.push(message),
  };
  const onChange = () => {
    changes++;
  };
  const checker = new HealthChecker({ log, onChange, clock, prober, concurrency });
  return { clock, prober, checker, lines, changes: () => changes };
}

t.test('a new target is unknown, and healthy with its first answer', async t => {
  const { clock, prober, checker, lines, changes } = bench();
  t.equal(checker.state('s/1'), null);
  checker.set([targetOf(1)]);
  t.match(checker.state('s/1'), { health: 'unknown', reason: null });
  await clock.until(0);
  t.match(checker.state('s/1'), { health: 'healthy', since: 0, answers: 1 });
  t.equal(changes(), 0);
  await clock.until(20);
  t.match(prober.asked, [{ host: VIP, fwmark: 5001, check: CHECK }]);
  t.strictSame(lines, ['target s/1 is healthy']);
  t.equal(changes(), 1);
});

t.test('all addresses must answer, and the reason tells all that did not', async t => {
  const { clock, prober, checker, lines } = bench();
  checker.set([targetOf(1, { asked: [VIP, VIP6] })]);
  prober.answer = ({ host }) => (host.family === 6 ? 'IPv6 failed' : null);
  await clock.until(5000);
  t.match(checker.state('s/1'), { health: 'unhealthy', reason: 'IPv6 failed' });
  t.strictSame(lines, ['target s/1 is unhealthy: IPv6 failed']);
  prober.answer = ({ host }) => `IPv${host.family} failed`;
  await clock.until(6000);
  t.match(checker.state('s/1'), { reason: 'IPv4 failed; IPv6 failed' });
});

t.test('changes that come together are told by few calls', async t => {
  const { clock, checker, changes } = bench();
  checker.set(Array.from({ length: 1000 }, (_, n) => targetOf(n)));
  await clock.until(1000);
  t.ok(changes() <= 250 / 20 + 1, `${changes()} calls`);
  t.equal(checker.state('s/999')?.health, 'healthy');
});

t.test('changes are told once, and only when a health changes', async t => {
  const { clock, prober, checker, changes } = bench();
  checker.set([targetOf(1)]);
  await clock.until(5000);
  t.equal(changes(), 1);
  const before = prober.asked.length;
  prober.answer = () => 'refused';
  while (prober.asked.length < before + 2) await clock.until(clock.now() + 100);
  t.match(checker.state('s/1'), { health: 'healthy', failures: 2, reason: 'refused' });
  t.equal(changes(), 1);
  while (prober.asked.length < before + 3) await clock.until(clock.now() + 100);
  t.match(checker.state('s/1'), { health: 'unhealthy', failures: 3 });
  await clock.until(clock.now() + 20);
  t.equal(changes(), 2);
});

t.test(
  'a thousand targets begin within a quarter of a second, and spread over the interval then',
  async t => {
    const { clock, prober, checker } = bench();
    checker.set(Array.from({ length: 1000 }, (_, n) => targetOf(n)));
    await clock.until(250);
    t.equal(prober.asked.length, 1000);
    await clock.until(10_000);
    const buckets = new Array(100).fill(0);
    for (const { at } of prober.asked) if (at >= 5000 && at < 6000) buckets[Math.floor((at - 5000) / 10)]++;
    t.equal(
      buckets.reduce((sum, count) => sum + count),
      1000,
      'each is asked once an interval',
    );
    t.ok(Math.max(...buckets) <= 20, `at most ${Math.max(...buckets)} in 10 ms; 10 is the mean`);
  },
);

t.test('times do not drift, however late a check ends', async t => {
  const { clock, prober, checker } = bench();
  prober.answer = () => undefined;
  checker.set([targetOf(1)]);
  for (let time = 0; time < 20_000; time += 7) {
    await clock.until(time);
    for (const asked of prober.underWay) asked.end(null);
  }
  const times = prober.asked.map(({ at }) => at).slice(1);
  t.ok(times.length >= 19);
  t.equal(new Set(times.map(time => time % 1000)).size, 1, `one phase: ${times.join(' ')}`);
});

t.test('a target has one check under way, and what it missed is not made up for', async t => {
  const { clock, prober, checker } = bench();
  prober.answer = () => undefined;
  checker.set([targetOf(1)]);
  await clock.until(60_000);
  t.equal(prober.asked.length, 1);
  prober.answer = () => null;
  prober.asked[0]!.end(null);
  await clock.until(62_000);
  t.ok(prober.asked.length <= 5, `${prober.asked.length} checks`);
});

t.test('no more checks than allowed are under way, and those that wait come in order', async t => {
  const { clock, prober, checker } = bench(3);
  prober.answer = () => undefined;
  checker.set(Array.from({ length: 8 }, (_, n) => targetOf(n)));
  await clock.until(100);
  t.equal(prober.underWay.length, 3);
  while (prober.asked.length < 8) {
    prober.underWay[0]!.end(null);
    await settled();
    t.equal(prober.underWay.length, 3);
  }
  t.strictSame(
    prober.asked.map(({ fwmark }) => fwmark),
    [5000, 5001, 5002, 5003, 5004, 5005, 5006, 5007],
  );
});

t.test('set keeps what did not change, and the check that is under way', async t => {
  const { clock, prober, checker } = bench();
  checker.set([targetOf(1), targetOf(2)]);
  await clock.until(10);
  prober.answer = () => undefined;
  await clock.until(3000);
  const count = prober.asked.length;
  checker.set([targetOf(1), targetOf(2), targetOf(3)]);
  t.match(checker.state('s/1'), { health: 'healthy', answers: 1 });
  t.match(checker.state('s/3'), { health: 'unknown' });
  await clock.until(3010);
  t.equal(prober.asked.length, count + 1, 'the new one alone is asked');
  t.equal(prober.underWay.length, 3);
});

t.test('another check is asked at once and judged anew, but takes no traffic away before', async t => {
  const { clock, prober, checker } = bench();
  checker.set([targetOf(1)]);
  await clock.until(10);
  prober.answer = () => undefined;
  await clock.until(3000);
  const former = prober.underWay[0]!;
  checker.set([targetOf(1, { check: { ...CHECK, port: 81, rise: 5, fall: 1 } })]);
  t.ok(former.ended, 'the former check is given up');
  await clock.until(3000);
  t.match(checker.state('s/1'), { health: 'healthy', since: 0, answers: 0, failures: 0 });
  t.equal(prober.underWay[0]!.check.port, 81);
  prober.underWay[0]!.end('refused');
  await settled();
  t.match(checker.state('s/1'), { health: 'unhealthy', since: 3000 });
});

t.test('another next hop is another target', async t => {
  const { clock, checker } = bench();
  checker.set([targetOf(1)]);
  await clock.until(10);
  checker.set([targetOf(1, { ips: [{ family: 4, address: '172.16.9.9' }] })]);
  t.match(checker.state('s/1'), { health: 'unknown', since: 10 });
});

t.test('a target that is gone is asked no more, and what its last check brings is nothing', async t => {
  const { clock, prober, checker, changes } = bench();
  prober.answer = () => undefined;
  checker.set([targetOf(1)]);
  await clock.until(10);
  checker.set([]);
  t.equal(checker.state('s/1'), null);
  t.equal(prober.underWay.length, 0);
  await clock.until(10_000);
  t.equal(prober.asked.length, 1);
  t.equal(changes(), 0);
  t.equal(clock.timers, 0);
});

t.test('stop gives up what is under way or waits, and leaves no timer', async t => {
  const { clock, prober, checker, changes } = bench(1);
  prober.answer = () => undefined;
  checker.set([targetOf(1), targetOf(2), targetOf(3)]);
  await clock.until(10);
  await checker.stop();
  await checker.stop();
  t.ok(prober.closed);
  t.equal(prober.asked.length, 1);
  t.equal(prober.underWay.length, 0);
  t.equal(clock.timers, 0);
  checker.set([targetOf(4)]);
  await settled();
  t.equal(clock.timers, 0, 'it does not begin again');
  t.equal(changes(), 0);
});

t.test(
  'targets that cannot be told apart, or that ask nobody, are refused before anything changes',
  async t => {
    const { checker } = bench();
    checker.set([targetOf(1)]);
    t.throws(() => checker.set([targetOf(2), targetOf(2)]), /target s\/2 is there twice/);
    t.throws(() => checker.set([targetOf(2, { asked: [] })]), /target s\/2: nobody is asked/);
    t.match(checker.state('s/1'), { health: 'unknown' });
    await checker.stop();
  },
);

t.test('a lack on this host says nothing of a target', async t => {
  const { clock, prober, checker } = bench();
  checker.set([targetOf(1)]);
  await clock.until(1000);
  prober.answer = () => 'open a TCP socket (IPv4): EMFILE';
  prober.unasked = true;
  await clock.until(20_000);
  t.match(checker.state('s/1'), { health: 'healthy' });
  prober.unasked = false;
  prober.answer = () => 'no answer';
  await clock.until(30_000);
  t.match(checker.state('s/1'), { health: 'unhealthy', reason: 'no answer' });
});

t.test('without a file descriptor nobody was asked', async t => {
  const module = new URL('../../host/health/prober.js', import.meta.url).href;
  const program = `
    import { openSync, closeSync } from 'node:fs';
    import { SocketProber } from '${module}';
    const prober = new SocketProber();
    const ask = type => prober.ask({ host: { family: 4, address: '127.0.0.1' }, fwmark: 1, check: ${JSON.stringify(CHECK)}, type });
    ask().cancel();
    const opened = [];
    try { while (true) opened.push(openSync('/dev/null')); } catch {}
    const attempt = ask();
    console.log(JSON.stringify({ unasked: attempt.unasked, failure: await attempt.failure }));
  `;
  const text = execFileSync('sh', ['-c', 'ulimit -n 64; exec node --input-type=module -e "$0"', program], {
    encoding: 'utf8',
  });
  t.match(JSON.parse(text), { unasked: true, failure: /EMFILE|too many/i });
});
