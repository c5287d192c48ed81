/**
 * Writes pcapng: one section, one interface of raw IP packets with microseconds, a comment for each packet, and statistics
 * at the end. Source: draft-ietf-opsawg-pcapng.
 */
const RAW = 101;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Block types (section 4). */
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;

/** Options (sections 3.5, 4.1, 4.2 and 4.6). */
const END = 0;
const COMMENT = 1;
const USER_APPLICATION = 4;
const INTERFACE_NAME = 2;
const START_TIME = 2;
const END_TIME = 3;
const RECEIVED = 4;
const DROPPED = 5;

export interface WrittenPacket {
  /** From the IP header on. */
  readonly bytes: Uint8Array;
  readonly wireLength: number;
  /** Microseconds since 1970. */
  readonly timeUs: number;
  readonly comment: string;
}

/** What precedes the packets. @param snapLength bytes that a packet has at most */
export function pcapngBegin(application: string, interfaceName: string, snapLength: number): Buffer {
  const section = Buffer.alloc(16);
  section.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
  section.writeUInt16LE(1, 4);
  // The section's length is not known.
  section.fill(0xff, 8);
  const description = Buffer.alloc(8);
  description.writeUInt16LE(RAW, 0);
  description.writeUInt32LE(snapLength, 4);
  return Buffer.concat([
    block(SECTION_HEADER, section, [option(USER_APPLICATION, Buffer.from(application))]),
    block(INTERFACE_DESCRIPTION, description, [option(INTERFACE_NAME, Buffer.from(interfaceName))]),
  ]);
}

export function pcapngPacket({ bytes, wireLength, timeUs, comment }: WrittenPacket): Buffer {
  const head = Buffer.alloc(20);
  timestamp(timeUs).copy(head, 4);
  head.writeUInt32LE(bytes.length, 12);
  head.writeUInt32LE(wireLength, 16);
  return block(ENHANCED_PACKET, Buffer.concat([head, padded(bytes)]), [
    option(COMMENT, Buffer.from(comment)),
  ]);
}

/** What follows the packets. @param lost packets that would belong here and do not stand here */
export function pcapngEnd(fromUs: number, toUs: number, written: number, lost: number): Buffer {
  const head = Buffer.alloc(12);
  timestamp(toUs).copy(head, 4);
  return block(INTERFACE_STATISTICS, head, [
    option(START_TIME, timestamp(fromUs)),
    option(END_TIME, timestamp(toUs)),
    option(RECEIVED, count(written + lost)),
    option(DROPPED, count(lost)),
  ]);
}

function block(type: number, body: Uint8Array, options: readonly Buffer[]): Buffer {
  const length = 12 + body.length + options.reduce((sum, each) => sum + each.length, 0) + 4;
  const begin = Buffer.alloc(8);
  begin.writeUInt32LE(type, 0);
  begin.writeUInt32LE(length, 4);
  const end = Buffer.alloc(4);
  end.writeUInt32LE(length, 0);
  return Buffer.concat([begin, body, ...options, option(END, Buffer.alloc(0)), end]);
}

function option(code: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, padded(value)]);
}

/** Filled up to 32 bits. */
function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

/** Two 32-bit words, the upper one first. */
function timestamp(timeUs: number): Buffer {
  const words = Buffer.alloc(8);
  words.writeUInt32LE(Math.floor(timeUs / 2 ** 32), 0);
  words.writeUInt32LE(timeUs % 2 ** 32, 4);
  return words;
}

function count(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
