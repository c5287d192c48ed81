import { spawn, spawnSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket as NetSocket } from 'node:net';
import {
  COUNTERS,
  type Counter,
  closeWake,
  createWake,
  NetfilterQueue,
  namespaceCookie,
  type QueueOptions,
  wake,
} from '../../host/queue/native.js';
import { readQueues } from '../../host/queue/proc.js';
import { insideNamespace, queueUdp, run, until } from './namespace.js';

await insideNamespace(import.meta.url);
const { default: t } = await import('tap');

const MARK = 5044;
const BATCH = 64;
const DESCRIPTOR = { packetId: 0, offset: 4, length: 8, wireLength: 12, verdict: 16, mark: 20 };
const DESCRIPTOR_BYTES = 24;
const CLOCK = 2048;
const PACKETS = 4096;

/** A queue over a memory of its own, and what a test asks of it. */
class Bench {
  readonly memory = new Uint8Array(new SharedArrayBuffer(PACKETS + BATCH * 1024));
  readonly #words = new DataView(this.memory.buffer);
  readonly queue: NetfilterQueue;
  /** Packets in the descriptors that have no verdict yet. */
  count = 0;

  constructor(
    number: number,
    options: Partial<
      Pick<
        QueueOptions,
        | 'queueLength'
        | 'copyRange'
        | 'packetBytes'
        | 'wake'
        | 'timeoutMs'
        | 'clock'
        | 'spinMicroseconds'
        | 'markMask'
        | 'behind'
      >
    > = {},
  ) {
    this.queue = new NetfilterQueue({
      queue: number,
      queueLength: options.queueLength ?? 1024,
      copyRange: options.copyRange ?? 512,
      receiveBufferBytes: 1024 * 1024,
      wake: options.wake ?? -1,
      timeoutMs: options.timeoutMs ?? 10,
      spinMicroseconds: options.spinMicroseconds ?? 0,
      ...(options.markMask === undefined ? {} : { markMask: options.markMask }),
      behind: options.behind ?? 0,
      memory: this.memory,
      descriptors: 0,
      descriptorBytes: DESCRIPTOR_BYTES,
      fields: DESCRIPTOR,
      batch: BATCH,
      packets: PACKETS,
      packetBytes: options.packetBytes ?? 1024,
      clock: options.clock ?? CLOCK,
    });
  }

  get(index: number, field: keyof typeof DESCRIPTOR): number {
    return this.#words.getUint32(index * DESCRIPTOR_BYTES + DESCRIPTOR[field], true);
  }

  set(index: number, field: keyof typeof DESCRIPTOR, value: number): void {
    this.#words.setUint32(index * DESCRIPTOR_BYTES + DESCRIPTOR[field], value, true);
  }

  bytes(index: number): Buffer {
    const offset = this.get(index, 'offset');
    return Buffer.from(this.memory.subarray(offset, offset + this.get(index, 'length')));
  }

  /** Answer what is there, receive, and give all that came the verdict. Returns how many came. */
  turn(verdict = 1, mark = MARK): number {
    this.count = this.queue.exchange(this.count);
    for (let n = 0; n < this.count; n++) {
      this.set(n, 'verdict', verdict);
      this.set(n, 'mark', mark);
    }
    return this.count;
  }

  counters(): Record<Counter, number> {
    const numbers = new Float64Array(COUNTERS.length);
    this.queue.statistics(numbers);
    return Object.fromEntries(COUNTERS.map((name, n) => [name, numbers[n]])) as Record<Counter, number>;
  }
}

async function receiver(port: number): Promise<{ socket: Socket; received: Buffer[] }> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  const received: Buffer[] = [];
  socket.on('message', message => received.push(message));
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, received };
}

/**
 * Resolves once the kernel has queued all `payloads`. One socket per batch: queued packets count against the send
 * buffer of theirs, which holds some 250.
 */
async function sendAll(port: number, payloads: readonly Buffer[]): Promise<void> {
  for (let first = 0; first < payloads.length; first += BATCH) {
    const socket = createSocket('udp4');
    for (const payload of payloads.slice(first, first + BATCH)) {
      await new Promise<void>((resolve, reject) => {
        socket.send(payload, port, '127.0.0.1', error => (error === null ? resolve() : reject(error)));
      });
    }
    socket.close();
  }
}

const numbered = (count: number) => Array.from({ length: count }, (_, n) => Buffer.from(`packet ${n}`));

t.test('a packet comes with its bytes and lengths, and leaves with its verdict and mark', async t => {
  queueUdp('7000', 0, MARK);
  const { socket, received } = await receiver(7000);
  const bench = new Bench(0);
  const payload = Buffer.from('through the queue');
  await sendAll(7000, [payload]);
  await until(
    'the packet is received',
    () => bench.count === 1,
    () => bench.turn(),
  );
  const packet = bench.bytes(0);
  t.equal(packet.length, 20 + 8 + payload.length);
  t.equal(bench.get(0, 'wireLength'), packet.length);
  t.equal(packet[0], 0x45, 'it begins with the IP header');
  t.equal(packet.readUInt16BE(22), 7000, 'the UDP destination port is in its place');
  t.same(packet.subarray(28), payload);
  t.equal(received.length, 0, 'it waits for its verdict');
  bench.turn();
  await until('the marked packet arrives', () => received.length === 1);

  await sendAll(7000, [Buffer.from('dropped'), Buffer.from('wrong mark'), Buffer.from('last')]);
  const taken: string[] = [];
  while (taken.length < 3) {
    bench.turn();
    for (let n = 0; n < bench.count; n++) {
      const text = bench.bytes(n).subarray(28).toString();
      taken.push(text);
      if (text === 'dropped') bench.set(n, 'verdict', 0);
      if (text === 'wrong mark') bench.set(n, 'mark', MARK + 1);
    }
  }
  await until(
    'the last arrives',
    () => received.length === 2,
    () => bench.turn(),
  );
  t.same(received, [payload, Buffer.from('last')]);
  t.match(bench.counters(), { packets: 4, verdicts: 4, verdictErrors: 0, truncated: 0, malformed: 0 });
  bench.queue.close();
  bench.queue.close();
  t.throws(() => bench.queue.exchange(0), /queue 0: answer 0 packets and receive: EBADF/);
  socket.close();
});

/** What goes to `port` has `mark` when it is queued. */
const marked = (port: number, mark: number) =>
  run(
    'iptables-nft',
    '-t',
    'mangle',
    '-A',
    'OUTPUT',
    '-p',
    'udp',
    '--dport',
    `${port}`,
    '-j',
    'MARK',
    '--set-mark',
    `${mark}`,
  );

t.test('with a markMask a packet keeps the other bits of its mark', async t => {
  const rows: [claim: string, port: number, before: number, decided: number, after: number][] = [
    ['bits of ours and of others', 7030, 0x84071234, 0x13b4, 0x840713b4],
    ['no mark before', 7031, 0, 0x13b4, 0x13b4],
    ['a decision with other bits', 7032, 0x70000, 0xff0013b4, 0x713b4],
    ['a decision without a bit', 7033, 0x70001, 0, 0x70000],
  ];
  const bench = new Bench(30, { markMask: 0xffff });
  for (const [claim, port, before, decided, after] of rows) {
    marked(port, before);
    queueUdp(`${port}`, 30, after);
    const { socket, received } = await receiver(port);
    await sendAll(port, [Buffer.from(claim)]);
    await until(
      `${claim}: it arrives with mark ${after}`,
      () => received.length === 1,
      () => bench.turn(1, decided),
    );
    socket.close();
  }
  t.match(bench.counters(), { packets: rows.length, verdicts: rows.length, verdictErrors: 0 });
  bench.queue.close();

  const whole = new Bench(31);
  marked(7034, 0x71234);
  queueUdp('7034', 31, 0x13b4);
  const { socket, received } = await receiver(7034);
  await sendAll(7034, [Buffer.from('whole')]);
  await until(
    'without a markMask the decision is the mark',
    () => received.length === 1,
    () => whole.turn(1, 0x13b4),
  );
  socket.close();
  whole.queue.close();
});

t.test('with a markMask a packet that is held keeps the other bits of its own mark', async t => {
  const ports = [7040, 7041, 7042, 7043];
  const [held, accepted] = [ports.slice(0, 3), ports[3]!];
  const receivers: Awaited<ReturnType<typeof receiver>>[] = [];
  for (const [index, port] of ports.entries()) {
    marked(port, (index + 1) * 0x10000 + 7);
    queueUdp(`${port}`, 32, (index + 1) * 0x10000 + MARK);
    receivers.push(await receiver(port));
  }
  const bench = new Bench(32, { markMask: 0xffff, behind: 4 });
  const ids = new Map<number, number>();
  for (const port of ports) await sendAll(port, [Buffer.from('x')]);
  await until(
    'all are received',
    () => ids.size === ports.length,
    () => {
      bench.turn();
      for (let n = 0; n < bench.count; n++) {
        const port = bench.bytes(n).readUInt16BE(22);
        ids.set(port, bench.get(n, 'packetId'));
        if (held.includes(port)) bench.set(n, 'verdict', 2);
      }
      bench.queue.answer(bench.count);
      bench.count = 0;
    },
  );
  const arrived = () => receivers.map(({ received }) => received.length);
  await until('the other one arrives', () => arrived()[3] === 1);
  t.same(arrived(), [0, 0, 0, 1]);
  const release = (...released: number[]) => {
    for (const [n, port] of released.entries()) {
      bench.set(BATCH + n, 'packetId', ids.get(port)!);
      bench.set(BATCH + n, 'verdict', 1);
      bench.set(BATCH + n, 'mark', MARK);
    }
    bench.queue.answer(0, released.length);
  };
  release(held[1]!);
  await until('the second arrives', () => arrived()[1] === 1);
  release(held[2]!, held[0]!);
  await until('the others arrive', () => arrived().every(count => count === 1));
  t.match(bench.counters(), { packets: 4, verdicts: 4, verdictErrors: 0 });
  t.ok(ids.has(accepted));
  for (const { socket } of receivers) socket.close();
  bench.queue.close();
});

t.test('more packets than a batch holds come in full batches, two system calls each', async t => {
  queueUdp('7001', 1, MARK);
  const { socket, received } = await receiver(7001);
  const bench = new Bench(1);
  const sent = numbered(10 * BATCH);
  await sendAll(7001, sent);
  const sizes: number[] = [];
  for (let n = 0; n < 10; n++) sizes.push(bench.turn());
  t.strictSame(sizes, Array(10).fill(BATCH));
  const { packets, systemCalls } = bench.counters();
  t.comment(`${systemCalls} system calls for ${packets} packets`);
  t.ok(systemCalls <= 2 * 10, `${systemCalls} system calls`);
  await until(
    'all arrive',
    () => received.length === sent.length,
    () => bench.turn(),
  );
  t.same(received, sent, 'in order');
  bench.queue.close();
  socket.close();
});

t.test('a packet larger than the interface takes comes unsegmented, cut to the copy range', async t => {
  run('ip', 'link', 'set', 'lo', 'mtu', '1500');
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  run(
    'iptables-nft',
    '-t',
    'mangle',
    '-A',
    'OUTPUT',
    '-p',
    'tcp',
    '--dport',
    `${port}`,
    '-j',
    'NFQUEUE',
    '--queue-num',
    '2',
  );
  const bench = new Bench(2);
  const bytes = 2_000_000;
  let received = 0;
  const peers: NetSocket[] = [];
  server.on('connection', peer => {
    peers.push(peer);
    peer.on('data', data => {
      received += data.length;
    });
  });
  const client = connect(port, '127.0.0.1');
  client.write(Buffer.alloc(bytes, 1));
  let largest = 0;
  let longestCapture = 0;
  await until(
    'all bytes arrive',
    () => received === bytes,
    () => {
      bench.turn();
      for (let n = 0; n < bench.count; n++) {
        largest = Math.max(largest, bench.get(n, 'wireLength'));
        longestCapture = Math.max(longestCapture, bench.get(n, 'length'));
      }
    },
  );
  t.comment(`largest packet ${largest} bytes`);
  t.ok(largest > 1500);
  t.equal(longestCapture, 512);
  client.destroy();
  for (const peer of peers) peer.destroy();
  server.close();
  bench.queue.close();
  run('ip', 'link', 'set', 'lo', 'mtu', '65536');
});

t.test('what overflows a short queue is counted, and the queue serves on', async t => {
  queueUdp('7003', 3, MARK);
  const { socket, received } = await receiver(7003);
  const bench = new Bench(3, { queueLength: 8 });
  await sendAll(7003, numbered(100));
  t.match(
    readQueues().find(queue => queue.queue === 3),
    { depth: 8, queueDropped: 92, userDropped: 0, copyRange: 512 },
  );
  await until(
    'the queued ones arrive',
    () => received.length === 8,
    () => bench.turn(),
  );
  await sendAll(7003, [Buffer.from('afterwards')]);
  await until(
    'a later one arrives',
    () => received.length === 9,
    () => bench.turn(),
  );
  t.equal(received.at(-1)?.toString(), 'afterwards');
  bench.queue.close();
  socket.close();
});

t.test('a whole queue of packets longer than the copy range fits a receive buffer of 1 KiB each', async t => {
  queueUdp('7002', 10, MARK);
  const { socket, received } = await receiver(7002);
  const bench = new Bench(10);
  await sendAll(7002, Array(1100).fill(Buffer.alloc(1000)));
  t.match(
    readQueues().find(queue => queue.queue === 10),
    { depth: 1024, queueDropped: 76, userDropped: 0 },
  );
  await until(
    'all that were queued arrive',
    () => received.length === 1024,
    () => bench.turn(),
  );
  t.equal(bench.counters().packets, 1024);
  bench.queue.close();
  socket.close();
});

t.test('a message that does not fit its buffer is counted and its packet dropped', async t => {
  queueUdp('7004', 4, MARK);
  const { socket, received } = await receiver(7004);
  const bench = new Bench(4, { packetBytes: 256, copyRange: 255 });
  await sendAll(7004, [Buffer.alloc(1000), Buffer.from('short')]);
  await until(
    'the short one arrives',
    () => received.length === 1,
    () => bench.turn(),
  );
  t.equal(received[0]?.toString(), 'short');
  t.match(bench.counters(), { packets: 1, truncated: 1, verdicts: 2 });
  t.equal(readQueues().find(queue => queue.queue === 4)?.depth, 0, 'none is left unanswered');
  bench.queue.close();
  socket.close();
});

t.test('a verdict for a packet that the kernel does not know is counted', async t => {
  const bench = new Bench(5);
  bench.set(0, 'packetId', 12345);
  bench.set(0, 'verdict', 1);
  bench.queue.exchange(1);
  t.match(bench.counters(), { verdicts: 1, verdictErrors: 1, packets: 0 });
  bench.queue.close();
});

t.test('a queue that somebody holds is not bound twice, and the error says so', async t => {
  const bench = new Bench(6);
  t.throws(() => new Bench(6), {
    name: 'KernelError',
    message: /^queue 6: bind: EPERM: it is held by another process \(netlink port id \d+\)$/,
  });
  bench.queue.close();
  new Bench(6).queue.close();
});

t.test('without NET_ADMIN the error names the capability', async t => {
  const native = new URL('../../host/queue/native.js', import.meta.url).href;
  const script = `
    const { NetfilterQueue } = await import('${native}');
    const fields = { packetId: 0, offset: 4, length: 8, wireLength: 12, verdict: 16, mark: 20 };
    try {
      new NetfilterQueue({ queue: 7, queueLength: 8, copyRange: 512, receiveBufferBytes: 212992, wake: -1, timeoutMs: 1,
        memory: new Uint8Array(8192), descriptors: 0, descriptorBytes: 24, fields, batch: 1, packets: 4096, packetBytes: 1024, clock: 2048 });
    } catch (error) {
      console.log(error.name, error.message);
    }`;
  const dropped = ['--inh-caps=-net_admin', '--bounding-set=-net_admin'];
  const parameters = [...dropped, process.execPath, '--input-type=module', '-e', script];
  const { stdout } = spawnSync('setpriv', parameters, { encoding: 'utf8' });
  t.equal(stdout.trim(), 'EnvironmentError queue 7: bind: EPERM: the capability NET_ADMIN is missing');
});

t.test('memory that does not hold everything is refused', async t => {
  t.throws(() => new Bench(8, { packetBytes: 1025 }), {
    name: 'KernelError',
    message: 'queue 8: fit the memory: EINVAL',
  });
  t.throws(() => new Bench(8, { packetBytes: 512 }), /fit the memory: EINVAL/);
  t.throws(() => new Bench(8, { clock: PACKETS + BATCH * 1024 }), /fit the memory: EINVAL/);
  t.throws(() => new Bench(8, { clock: CLOCK + 4 }), /fit the memory: EINVAL/);
  t.throws(() => new Bench(65536), RangeError);
  t.throws(() => new Bench(8, { queueLength: 0 }), RangeError);
});

t.test('an exchange says when it returned, by the clock that all threads share', async t => {
  const bench = new Bench(13, { timeoutMs: 1 });
  const clock = new Float64Array(bench.memory.buffer, CLOCK, 1);
  const before = Number(process.hrtime.bigint());
  bench.turn();
  bench.queue.answer(0);
  const decidedIn = bench.queue.decidedIn();
  const after = Number(process.hrtime.bigint());
  t.ok(before + 1e6 <= clock[0]! && clock[0]! <= after, `${before} + 1 ms <= ${clock[0]} <= ${after}`);
  t.ok(
    Number.isInteger(decidedIn) && decidedIn > 0 && decidedIn <= after - clock[0]!,
    `${decidedIn} ns to its answer`,
  );
  bench.queue.close();
});

t.test('neither an exchange nor a look at the time makes an object', async t => {
  const bench = new Bench(14, { timeoutMs: 0 });
  const turns = 200_000;
  let longest = 0;
  const loop = () => {
    for (let n = 0; n < turns; n++) {
      bench.queue.exchange(0);
      bench.queue.answer(0);
      longest = Math.max(longest, bench.queue.decidedIn());
    }
  };
  loop();
  // What a compiler beside it leaves in the heap, it does not leave each time.
  const growth = Math.min(
    ...Array.from({ length: 5 }, () => {
      const { heapUsed } = process.memoryUsage();
      loop();
      return process.memoryUsage().heapUsed - heapUsed;
    }),
  );
  t.ok(
    growth < turns,
    `${growth} bytes in ${turns} turns, in which a number in an object would take 12 and more each`,
  );
  t.ok(longest > 0);
  bench.queue.close();
});

t.test('a wake ends one wait and only one', async t => {
  const descriptor = createWake();
  const timeoutMs = 2000;
  const bench = new Bench(9, { wake: descriptor, timeoutMs });
  const idle = () => {
    const started = performance.now();
    t.equal(bench.turn(), 0);
    return performance.now() - started;
  };
  wake(descriptor);
  wake(descriptor);
  t.ok(idle() < timeoutMs / 2, 'far from its time-out');
  t.ok(idle() > timeoutMs - 1, 'the next one waits for its time-out');
  bench.queue.close();
  closeWake(descriptor);
});

t.test('while packets come close together it looks again and again, else it sleeps', async t => {
  queueUdp('7015', 15, MARK);
  const bench = new Bench(15, { spinMicroseconds: 1000 });
  let calls = 0;
  /** System calls of one exchange. */
  const turn = () => {
    bench.turn();
    const { systemCalls } = bench.counters();
    const more = systemCalls - calls;
    calls = systemCalls;
    return more;
  };
  turn();
  // One that looks in vain, one that waits.
  t.equal(turn(), 2, 'no packets: it sleeps at once');
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    const next = () => socket.send('packet', 7015, '127.0.0.1', () => setImmediate(next));
    next();`;
  const sender = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  t.teardown(() => sender.kill('SIGKILL'));
  // Without a pause in between: else packets are there each time.
  const looked = () => Array.from({ length: 1000 }, turn).some(each => each > 10);
  await until('an exchange that looks many times', looked);
  sender.kill('SIGKILL');
  await once(sender, 'exit');
  await until('it sleeps at once again', () => turn() === 2 && bench.count === 0);
  bench.queue.close();
});

t.test(
  'where packets come now and then it waits in the call that receives them, and no wait is for ever',
  async t => {
    queueUdp('7016', 16, MARK);
    const descriptor = createWake();
    const bench = new Bench(16, { timeoutMs: 60_000, wake: descriptor });
    const script = `
    const socket = require('node:dgram').createSocket('udp4');
    setInterval(() => socket.send('packet', 7016, '127.0.0.1'), 1);`;
    const sender = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
    t.teardown(() => sender.kill('SIGKILL'));
    let received = 0;
    for (let turns = 0; turns < 500; turns++) received += bench.turn();
    t.ok(received >= 500 - bench.counters().idle, `${received} packets`);
    sender.kill('SIGKILL');
    await once(sender, 'exit');
    // Blocked it does not see the wake, but its block ends; polling it does.
    wake(descriptor);
    const before = performance.now();
    await until('a turn without packets', () => bench.turn() === 0);
    wake(descriptor);
    t.equal(bench.turn(), 0);
    t.ok(performance.now() - before < 30_000, 'far from its time-out');
    bench.queue.close();
    closeWake(descriptor);
  },
);

t.test('a signal, or a stop of the process, ends a wait and nothing else', async t => {
  queueUdp('7017', 17, MARK);
  const bench = new Bench(17, { timeoutMs: 1000 });
  let signals = 0;
  const count = () => {
    signals++;
  };
  process.on('SIGUSR2', count);
  t.teardown(() => process.off('SIGUSR2', count));
  const packets = 300;
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    let sent = 0;
    const next = () => {
      process.kill(${process.pid}, sent % 10 === 0 ? 'SIGSTOP' : 'SIGUSR2');
      process.kill(${process.pid}, 'SIGCONT');
      socket.send('packet', 7017, '127.0.0.1', () => (++sent < ${packets} ? setTimeout(next, 2) : socket.close()));
    };
    next();`;
  const sender = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  t.teardown(() => sender.kill('SIGKILL'));
  const deadline = performance.now() + 30_000;
  let received = 0;
  while (received < packets && performance.now() < deadline) received += bench.turn();
  t.equal(received, packets);
  await until('the signals are told', () => signals > 0);
  t.ok(bench.counters().idle > 0, 'they ended waits');
  bench.queue.close();
});

t.test('the namespace has a cookie of its own', async t => {
  const native = new URL('../../host/queue/native.js', import.meta.url).href;
  const script = `import('${native}').then(native => console.log(String(native.namespaceCookie())))`;
  const cookie = () => spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' }).stdout.trim();
  t.equal(cookie(), String(namespaceCookie()), 'the same for each process of the namespace');
  t.type(namespaceCookie(), 'bigint');
});
