import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readCapture } from '../../host/capture/capture-file.js';
import { pcapngBegin, pcapngEnd, pcapngPacket } from '../../host/capture/pcapng-writer.js';
import { CaptureError } from '../../host/types/errors.js';
import { ip, TCP, transport } from '../fixture/packet.js';
import { PcapngBlocks } from '../fixture/pcapng.js';
import { tshark } from '../fixture/tshark.js';

const directory = mkdtempSync(join(tmpdir(), 'magmark-pcapng-'));
t.teardown(() => rmSync(directory, { recursive: true }));
let files = 0;

interface Read {
  readonly packets: readonly {
    readonly linkType: number;
    readonly bytes: Buffer;
    readonly wireLength: number;
  }[];
  readonly fault: string | null;
}

function fileOf(...blocks: Uint8Array[]): string {
  const file = join(directory, `${files++}.pcapng`);
  writeFileSync(file, Buffer.concat(blocks));
  return file;
}

function read(...blocks: Uint8Array[]): Read {
  const packets: Read['packets'][number][] = [];
  try {
    for (const { number, linkType, bytes, wireLength } of readCapture(fileOf(...blocks))) {
      packets.push({ linkType, bytes: Buffer.from(bytes), wireLength });
      t.equal(number, packets.length);
    }
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    return { packets, fault: error.message.replace(/^.*\.pcapng: /, '') };
  }
  return { packets, fault: null };
}

const packet = ip('192.0.2.1', '20.0.0.1', TCP, transport(TCP, 1000, 80, [1]));
const RAW = 101;
const ETHERNET = 1;
const COMMENT = [1, 0, 4, 0, 97, 98, 99, 100, 0, 0, 0, 0];

for (const littleEndian of [true, false]) {
  const make = new PcapngBlocks(littleEndian);
  const order = littleEndian ? 'little-endian' : 'big-endian';

  t.test(`${order}: every kind of packet block, of interfaces with different links`, async t => {
    const { packets, fault } = read(
      make.section(COMMENT),
      make.interface(ETHERNET, 20, COMMENT),
      make.interface(RAW),
      make.enhanced(1, packet, 1500, COMMENT),
      make.block(5, [Buffer.alloc(40)]),
      make.obsolete(0, packet.subarray(0, 13), 60),
      make.simple(packet.subarray(0, 20), 41),
      make.block(0x80000bad, [Buffer.alloc(700_000)]),
      make.enhanced(0, packet.subarray(0, 0), 0),
    );
    t.equal(fault, null);
    t.strictSame(packets, [
      { linkType: RAW, bytes: Buffer.from(packet), wireLength: 1500 },
      { linkType: ETHERNET, bytes: Buffer.from(packet.subarray(0, 13)), wireLength: 60 },
      { linkType: ETHERNET, bytes: Buffer.from(packet.subarray(0, 20)), wireLength: 41 },
      { linkType: ETHERNET, bytes: Buffer.alloc(0), wireLength: 0 },
    ]);
  });

  t.test(`${order}: what is damaged is named with its place, after the packets before it`, async t => {
    const before = Buffer.concat([make.section(), make.interface(RAW), make.enhanced(0, packet)]);
    const at = before.length;
    const cut = make.enhanced(0, packet);
    const withWord = (block: Buffer, offset: number, value: number): Buffer =>
      Buffer.concat([block.subarray(0, offset), make.u32(value), block.subarray(offset + 4)]);
    const rows: readonly (readonly [what: string, block: Uint8Array, fault: RegExp, packets?: number])[] = [
      ['cut in its header', cut.subarray(0, 7), /is cut off in its header/],
      ['cut before its packet', cut.subarray(0, 20), /is cut off/],
      ['cut in its packet', cut.subarray(0, 40), /is cut off/],
      ['cut before its end: its packet is whole', cut.subarray(0, cut.length - 4), /is cut off/, 2],
      ['another length at its end', withWord(cut, cut.length - 4, 8), /by its begin and 8 by its end/, 2],
      ['a length that is no multiple of 4', withWord(cut, 4, 75), /claims 75 bytes/],
      ['a length below its own frame', withWord(cut, 4, 8), /claims 8 bytes/],
      ['a length beyond the file', withWord(cut, 4, 0xfffffffc), /is cut off: it has 4294967292 bytes/, 2],
      [
        'a packet beyond reason',
        withWord(cut, 20, 0xffffffff),
        /claims a packet of 4294967295 bytes; 262144/,
      ],
      ['a packet beyond its block', withWord(cut, 20, 4000), /claims a packet of 4000 bytes; 44 are left/],
      ['a packet of no interface', make.enhanced(1, packet), /of interface 1; its section describes 1/],
      [
        'a packet before any interface',
        Buffer.concat([make.section(), make.simple(packet)]),
        /interface 0; its section describes 0/,
      ],
      [
        'a link that is not known',
        Buffer.concat([make.interface(147), make.enhanced(1, packet)]),
        /link type 147/,
      ],
      [
        'too short for its type',
        make.block(6, [Buffer.alloc(16)]),
        /ends 4 bytes before what its type needs/,
      ],
      [
        'a section of another version',
        withWord(make.section(), 12, littleEndian ? 2 : 0x20000),
        /is of version 2/,
      ],
      [
        'a section too short',
        Buffer.concat([make.section().subarray(0, 4), make.u32(16), make.u32(0x1a2b3c4d), make.u32(16)]),
        /cut off|too few/,
      ],
    ];
    for (const [what, block, fault, count = 1] of rows) {
      const { packets, fault: said } = read(before, block);
      t.equal(packets.length, count, what);
      t.match(said, fault, what);
      const place = Number(/^the block at byte (\d+) /.exec(said!)![1]);
      t.ok(place >= at && place < at + Math.max(block.length, 1), `${what}: at byte ${place}`);
    }
  });

  t.test(
    `${order}: any file that is cut short gives the packets before it, and says so unless a block ends there`,
    async t => {
      const blocks = [make.section(), make.interface(RAW), make.enhanced(0, packet), make.simple(packet)];
      const whole = Buffer.concat(blocks);
      const ends = blocks.map((_, index) => Buffer.concat(blocks.slice(0, index + 1)).length);
      for (let length = 4; length < whole.length; length++) {
        const { packets, fault } = read(whole.subarray(0, length));
        if ((fault === null) !== ends.includes(length)) t.fail(`${length} bytes: ${fault}`);
        if (length < ends[2]! - 4 - (-packet.length & 3) && packets.length > 0)
          t.fail(`${length} bytes gave a packet`);
      }
    },
  );
}

t.test('a section after another has its own byte order and its own interfaces', async t => {
  const little = new PcapngBlocks(true);
  const big = new PcapngBlocks(false);
  const { packets, fault } = read(
    little.section(),
    little.interface(ETHERNET),
    little.enhanced(0, packet),
    big.section(),
    big.interface(RAW),
    big.enhanced(0, packet),
  );
  t.equal(fault, null);
  t.strictSame(
    packets.map(each => each.linkType),
    [ETHERNET, RAW],
  );
});

t.test(
  'what is written is what tshark and the reader read: packets, times, comments, and what was lost',
  async t => {
    const times = [1_700_000_000_123_456, 1_700_000_000_123_457, 4_294_967_296 * 400_000 + 7];
    const written = times.map((timeUs, index) => ({
      bytes: packet.subarray(0, packet.length - index),
      wireLength: packet.length,
      timeUs,
      comment: `flow=f-${index} stream=s target=1 mark=5001 reason=ok`,
    }));
    const bytes = Buffer.concat([
      pcapngBegin('magmark 0.1.0', 'magmark', 512),
      ...written.map(pcapngPacket),
      pcapngEnd(times[0]!, times[2]!, 3, 7),
    ]);
    const { packets, fault } = read(bytes);
    t.equal(fault, null);
    t.strictSame(
      packets,
      written.map(each => ({ linkType: RAW, bytes: Buffer.from(each.bytes), wireLength: packet.length })),
    );
    const file = fileOf(bytes);
    t.strictSame(
      tshark(file, [
        'frame.comment',
        'frame.time_epoch',
        'frame.cap_len',
        'frame.len',
        'ip.dst',
        'tcp.dstport',
      ]),
      written.map(each => [
        each.comment,
        `${Math.floor(each.timeUs / 1e6)}.${`${each.timeUs % 1e6}`.padStart(6, '0')}000`,
        `${each.bytes.length}`,
        `${packet.length}`,
        '20.0.0.1',
        '80',
      ]),
    );
    const dropped = tshark(
      file,
      ['pcapng.options.option.data.interface.dropped', 'pcapng.options.option.data.interface.received'],
      'blocks',
    );
    t.strictSame(dropped, [['7', '10']]);
  },
);
