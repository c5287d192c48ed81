import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { loadConfig } from '../../host/config/load.js';
import { Simulator } from '../../host/simulator/simulator.js';
import { be16, ip, TCP, transport, UDP } from '../fixture/packet.js';
import { type Form, type Frame, pcapOf } from '../fixture/pcap.js';
import { vectors } from '../fixture/vectors.js';

const MAGMARK = fileURLToPath(new URL('../../host/bin/magmark.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'magmark-replay-'));
t.teardown(() => rmSync(directory, { recursive: true }));

const CONFIG = `
vips: [20.0.0.0/24, "2000::/64", 10.10.10.0/24, "2001:db8:10::/64"]
streams:
  - name: s
    targets: [{identifier: 1, ips: [172.16.0.1, "fd00::1"]}, {identifier: 2, ips: [172.16.0.2, "fd00::2"]}]
  - {name: empty}
flows:
  - {name: web, stream: s, priority: 2, protocols: [tcp, udp], vips: [20.0.0.0/24, "2000::/64"], destinationPortRanges: ["80"]}
  - {name: nobody, stream: empty, priority: 1, vips: [20.0.0.9/32]}
  - {name: vectors, stream: s, priority: 0, vips: [10.10.10.0/24, "2001:db8:10::/64"]}
noTargetsFwmark: 1001
`;
const config = join(directory, 'config.yaml');
writeFileSync(config, CONFIG);

/** A capture file of `frames` in this test's directory. */
function pcap(name: string, frames: readonly Frame[], form: Form): string {
  const file = join(directory, name);
  writeFileSync(file, pcapOf(frames, form));
  return file;
}

const ethernet = (
  packet: Uint8Array,
  type = packet[0]! >> 4 === 6 ? 0x86dd : 0x0800,
  tags: readonly number[] = [],
): Uint8Array =>
  Uint8Array.from([
    ...new Array<number>(12).fill(2),
    ...tags.flatMap(tag => [...be16(tag), 0, 7]),
    ...be16(type),
    ...packet,
  ]);

function magmark(...args: string[]) {
  const { status, stdout, stderr } = spawnSync('node', [MAGMARK, 'replay', '--config', config, ...args], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  });
  return { status, stdout, stderr };
}

function lines(file: string): Record<string, unknown>[] {
  const { status, stdout, stderr } = magmark('--json', file);
  if (status !== 0) throw new Error(stderr);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as Record<string, unknown>);
}

const web = ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, 1000, 80));
const web6 = ip('2001:db8::1', '2000::1', TCP, transport(TCP, 1000, 80));

t.test('every packet of the file gets one line, as the core decides it', async t => {
  const packets = vectors.packets.map(({ hex }) => Buffer.from(hex, 'hex'));
  const simulator = Simulator.fromConfig(loadConfig(CONFIG, 'config.yaml'));
  const expected = packets.map((packet, index) => ({ n: index + 1, ...simulator.decide(packet) }));
  t.strictSame(
    lines(
      pcap(
        'vectors.pcap',
        packets.map(packet => ethernet(packet)),
        { linkType: 1 },
      ),
    ),
    expected,
  );
  t.ok(expected.some(line => line.reason === 'ok'));
});

t.test('keys and their values are those that are documented', async t => {
  const frames = [
    web,
    ip('192.0.2.1', '20.0.0.9', 47, [0, 0, 0, 0]),
    ip('192.0.2.1', '20.0.0.2', TCP, transport(TCP, 1000, 81)),
    web.subarray(0, 21),
  ].map(packet => ethernet(packet, 0x0800));
  const arp = Uint8Array.from([...new Array<number>(12).fill(2), 8, 6, ...new Array<number>(28).fill(0)]);
  const [first, ...others] = lines(pcap('keys.pcap', [...frames, arp], { linkType: 1 }));
  t.strictSame(Object.keys(first!), ['n', 'reason', 'flow', 'stream', 'hash', 'identifier', 'fwmark']);
  t.match(first, { n: 1, reason: 'ok', flow: 'web', stream: 's', hash: Number });
  t.equal(first!.fwmark, 5000 + (first!.identifier as number));
  const nothing = { flow: null, stream: null, hash: null, identifier: null, fwmark: null };
  t.match(others[0], {
    n: 2,
    reason: 'no-target',
    flow: 'nobody',
    stream: 'empty',
    hash: Number,
    identifier: null,
    fwmark: 1001,
  });
  t.strictSame(others[1], { n: 3, reason: 'no-flow', ...nothing });
  t.strictSame(others[2], { n: 4, reason: 'truncated', ...nothing });
  t.strictSame(others[3], { n: 5, reason: 'not-ip', ...nothing });
});

t.test('every link and form of the file leads to the same decision', async t => {
  const expected = lines(pcap('raw.pcap', [web, web6], { linkType: 101 }));
  t.ok(expected.every(line => line.reason === 'ok'));
  const cooked = (packet: Uint8Array) =>
    Uint8Array.from([
      ...new Array<number>(14).fill(0),
      ...be16(packet[0]! >> 4 === 6 ? 0x86dd : 0x0800),
      ...packet,
    ]);
  const cooked2 = (packet: Uint8Array) =>
    Uint8Array.from([
      ...be16(packet[0]! >> 4 === 6 ? 0x86dd : 0x0800),
      ...new Array<number>(18).fill(0),
      ...packet,
    ]);
  const both = (frame: (packet: Uint8Array) => Uint8Array) => [frame(web), frame(web6)];
  const rows: [string, Uint8Array[], Form][] = [
    ['Ethernet', both(packet => ethernet(packet)), { linkType: 1 }],
    ['one VLAN tag', both(packet => ethernet(packet, undefined, [0x8100])), { linkType: 1 }],
    ['two VLAN tags', both(packet => ethernet(packet, undefined, [0x88a8, 0x8100])), { linkType: 1 }],
    [
      'Ethernet with padding behind the packet',
      both(packet => Uint8Array.from([...ethernet(packet), 0, 0, 0, 0])),
      { linkType: 1 },
    ],
    ['Linux cooked', both(cooked), { linkType: 113 }],
    ['Linux cooked, second version', both(cooked2), { linkType: 276 }],
    ['big-endian numbers', both(packet => ethernet(packet)), { linkType: 1, littleEndian: false }],
    ['nanoseconds', both(packet => ethernet(packet)), { linkType: 1, magic: 0xa1b23c4d }],
  ];
  for (const [claim, frames, form] of rows)
    t.strictSame(lines(pcap('form.pcap', frames, form)), expected, claim);
  const lying = [ethernet(web, 0x86dd), ethernet(web6, 0x0800)];
  t.ok(
    lines(pcap('lying.pcap', lying, { linkType: 1 })).every(line => line.reason === 'not-ip'),
    'a frame that holds another version than it says',
  );
});

t.test('a later fragment follows its first by addresses, protocol and id, if that came before', async t => {
  const first = (id: number) =>
    ip('192.0.2.1', '20.0.0.1', UDP, transport(UDP, 1000, 80), { fragment: 0x2000, id });
  const later = (id: number, source = '192.0.2.1') =>
    ip(source, '20.0.0.1', UDP, [1, 2, 3, 4, 5, 6, 7, 8], { fragment: 0x0001, id });
  const fragment6 = (offset: number, more: number, id: number) => [
    UDP,
    0,
    ...be16((offset << 3) | more),
    0,
    0,
    ...be16(id),
  ];
  const first6 = ip('2001:db8::1', '2000::1', 44, transport(UDP, 1000, 80), { options: fragment6(0, 1, 9) });
  const later6 = (id: number) =>
    ip('2001:db8::1', '2000::1', 44, [1, 2, 3, 4], { options: fragment6(1, 0, id) });
  const ofTcp = ip('192.0.2.1', '20.0.0.1', TCP, [1, 2, 3, 4, 5, 6, 7, 8], { fragment: 0x0001, id: 7 });
  const packets = [
    later(7),
    first(7),
    later(7),
    ofTcp,
    later(8),
    later(7, '192.0.2.2'),
    first6,
    later6(9),
    later6(10),
  ];
  const got = lines(pcap('fragments.pcap', packets, { linkType: 101 }));
  t.strictSame(
    got.map(line => line.reason),
    [
      'fragment-without-first',
      'ok',
      'ok',
      'fragment-without-first',
      'fragment-without-first',
      'fragment-without-first',
      'ok',
      'ok',
      'fragment-without-first',
    ],
  );
  t.strictSame({ ...got[2], n: 0 }, { ...got[1], n: 0 });
  t.strictSame({ ...got[7], n: 0 }, { ...got[6], n: 0 });
});

t.test(
  'a packet that the capture cut short is decided by what is there, and by its length on the wire',
  async t => {
    const long = ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, 1000, 80, new Array<number>(400).fill(1)));
    const cut = { frame: ethernet(long).subarray(0, 14 + 24), wire: 14 + long.length };
    t.match(lines(pcap('cut.pcap', [cut], { linkType: 1 })), [{ reason: 'ok', flow: 'web' }]);
    // Too short for what decides: cut off is not the same as too deep for the core.
    for (const bytes of [1, 19, 20, 23]) {
      const shorter = { frame: long.subarray(0, bytes), wire: long.length };
      t.match(
        lines(pcap('cut.pcap', [shorter], { linkType: 101 })),
        [{ reason: 'truncated' }],
        `${bytes} bytes`,
      );
    }
    for (const wire of [0, 3, 0xffffffff]) {
      const lying = { frame: ethernet(web), wire };
      t.match(
        lines(pcap('cut.pcap', [lying], { linkType: 1 })),
        [{ reason: 'ok' }],
        `${wire} bytes on the wire`,
      );
    }
  },
);

t.test('more packets in fragments than are remembered are decided as fast as others', async t => {
  const count = 200_000;
  const first = (id: number) =>
    ip(`192.0.${id >> 16}.1`, '20.0.0.1', UDP, transport(UDP, 1000, 80), {
      fragment: 0x2000,
      id: id & 0xffff,
    });
  const later = (id: number) =>
    ip(`192.0.${id >> 16}.1`, '20.0.0.1', UDP, [1, 2, 3, 4, 5, 6, 7, 8], {
      fragment: 0x0001,
      id: id & 0xffff,
    });
  const firsts = Array.from({ length: count }, (_, id) => first(id));
  const got = lines(pcap('many.pcap', [...firsts, later(count - 65_536), later(0)], { linkType: 101 }));
  t.strictSame(
    got.slice(count).map(line => line.reason),
    ['ok', 'fragment-without-first'],
  );
});

t.test('a file that is damaged is named with its place, after what was readable', async t => {
  const whole = pcap('whole.pcap', [ethernet(web), ethernet(web)], { linkType: 1 });
  const { readFileSync } = await import('node:fs');
  const bytes = readFileSync(whole);
  const rows: [string, Buffer, RegExp, number][] = [
    [
      'cut off in a packet',
      bytes.subarray(0, bytes.length - 3),
      /packet 2 is cut off: its 54 bytes begin at byte 110$/m,
      1,
    ],
    [
      'cut off in a record header',
      bytes.subarray(0, bytes.length - 60),
      /packet 2 is cut off in its header at byte 94$/m,
      1,
    ],
    [
      'a length beyond reason',
      Buffer.concat([bytes.subarray(0, 32), Buffer.from([255, 255, 255, 127]), bytes.subarray(36)]),
      /claims 2147483647 bytes/,
      0,
    ],
    ['empty', Buffer.alloc(0), /shorter than/, 0],
    ['another kind of file', Buffer.from('vips: [20.0.0.1/32, 2000::1/128]'), /neither pcap nor pcapng/, 0],
    [
      'pcapng without a byte order',
      Buffer.concat([Buffer.from([0x0a, 0x0d, 0x0d, 0x0a]), Buffer.alloc(40)]),
      /block at byte 0 has the byte order mark 0x00000000/,
      0,
    ],
    [
      'modified pcap',
      Buffer.concat([Buffer.from([0x34, 0xcd, 0xb2, 0xa1]), Buffer.alloc(40)]),
      /modified pcap.*tcpdump -r/,
      0,
    ],
    [
      'modified pcap of the other byte order',
      Buffer.concat([Buffer.from([0xa1, 0xb2, 0xcd, 0x34]), Buffer.alloc(40)]),
      /modified pcap/,
      0,
    ],
    ['compressed', gzipSync(bytes), /compressed.*zcat FILE \| magmark replay .* \/dev\/stdin/, 0],
    [
      'an unknown link',
      Buffer.concat([bytes.subarray(0, 20), Buffer.from([147, 0, 0, 0]), bytes.subarray(24)]),
      /damaged\.pcap: link type 147 is not known/,
      0,
    ],
  ];
  for (const [claim, contents, message, count] of rows) {
    const file = join(directory, 'damaged.pcap');
    writeFileSync(file, contents);
    const { status, stdout, stderr } = magmark('--json', file);
    t.equal(status, 1, claim);
    t.match(stderr, message, claim);
    t.notMatch(stderr, /^\s+at /m, `${claim}: no stack trace`);
    const lines = stdout.split('\n').filter(Boolean);
    // Behind the packets, the fault.
    t.equal(lines.length, count + 1, claim);
    t.match(JSON.parse(lines.at(-1)!).error, message, claim);
    if (count === 0) t.equal(magmark(file).stdout, '', `${claim}: no table of nothing`);
  }
  const absent = magmark(join(directory, 'absent.pcap'));
  t.equal(absent.status, 1);
  t.match(absent.stderr, /absent\.pcap: cannot be read/);
  t.match(magmark('-').stderr, /^-: cannot be read: ENOENT.*; standard input is \/dev\/stdin\n$/);
  const steering = magmark(join(directory, '\u001b[31m\nred.pcap'));
  t.equal(steering.status, 1);
  t.match(steering.stderr, /\\u001b\[31m\\u000ared\.pcap: cannot be read/);
  t.notOk(steering.stderr.includes('\u001b'), 'a name does not steer the terminal');
  t.equal(steering.stderr.indexOf('\n'), steering.stderr.length - 1, 'nor break its line');
});

t.test('a capture comes by standard input too', async t => {
  const capture = pcap('piped.pcap', new Array<Uint8Array>(30_000).fill(web), { linkType: 101 });
  const argv = [MAGMARK, 'replay', '--json', '--config', config, '/dev/stdin'];
  const piped = spawnSync('sh', ['-c', 'cat "$0" | node "$@"', capture, ...argv], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  t.equal(piped.stderr, '');
  t.equal(piped.stdout, magmark('--json', capture).stdout);
  t.equal(piped.stdout.split('\n').length, 30_001);
});

t.test('too little address space for the core is said with what was asked for', async t => {
  const capture = pcap('limited.pcap', [web], { linkType: 101 });
  const argv = [MAGMARK, 'replay', '--config', config, capture];
  const limited = spawnSync('sh', ['-c', 'ulimit -v 4000000; exec node "$@"', 'sh', ...argv], {
    encoding: 'utf8',
  });
  t.equal(limited.status, 2);
  t.match(limited.stderr, /^the core's memory of [0-9]+ bytes cannot be had: .*ulimit -v[^\n]*\n$/);
});

t.test('a VIP that covers a gateway or a target is warned of, and replay and validate go on', async t => {
  const covering = join(directory, 'covering.yaml');
  writeFileSync(
    covering,
    `${CONFIG}gateways: [{name: g, protocol: static, ips: [20.0.0.200]}]\n`.replace(
      '10.10.10.0/24,',
      '172.16.0.0/31,',
    ),
  );
  const warnings = [
    /^warning: vips\[0\]: 20\.0\.0\.0\/24 covers 20\.0\.0\.200 of gateway g$/m,
    /^warning: vips\[2\]: 172\.16\.0\.0\/31 covers 172\.16\.0\.1 of target s\/1$/m,
  ];
  const capture = pcap('covering.pcap', [web], { linkType: 101 });
  for (const argv of [
    ['replay', '--json', '--config', covering, capture],
    ['validate', covering],
  ]) {
    const { status, stdout, stderr } = spawnSync('node', [MAGMARK, ...argv], { encoding: 'utf8' });
    t.equal(status, 0, argv[0]!);
    for (const warning of warnings) t.match(stderr, warning, argv[0]!);
    // This host's own addresses, ::1 and 127.0.0.1 among them, are not looked at: it is not the balancer.
    t.notMatch(stderr, /this host/, argv[0]!);
    t.match(stdout, argv[0] === 'replay' ? /"reason":"ok"/ : /: valid\n$/);
  }
});

t.test('for people: a table per flow and target with bars, and one of reasons', async t => {
  const { status, stdout } = magmark(pcap('table.pcap', [web, web6, web.subarray(0, 5)], { linkType: 101 }));
  t.equal(status, 0);
  t.match(stdout, /^3 packets\n/);
  t.match(stdout, /web +│ s +│ +[12] │ +500[12] │/);
  t.match(stdout, /█/);
  t.match(stdout, /truncated +│ +1 │/);
  t.equal(magmark(pcap('none.pcap', [], { linkType: 101 })).stdout, '0 packets\n');
});

t.test('a reader that goes away ends it quietly, a full disk with a word', async t => {
  const many = pcap('many.pcap', new Array<Uint8Array>(50_000).fill(web), { linkType: 101 });
  const through = (rest: string) =>
    spawnSync('sh', ['-c', `node ${MAGMARK} replay --json --config ${config} ${many} ${rest}`], {
      encoding: 'utf8',
    });
  t.match(through('| head -n 1'), { stdout: /^\{"n":1,.*\}\n$/, stderr: '' });
  const full = through('>/dev/full');
  t.equal(full.status, 2);
  t.match(full.stderr, /^standard output cannot be written: ENOSPC[^\n]*\n$/);
});
