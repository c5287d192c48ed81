/**
 * Reads capture files of libpcap, one packet after the other, in memory that does not grow with the file.
 * Present: pcap with microseconds or nanoseconds, either byte order. Absent: pcapng.
 * Source: draft-ietf-opsawg-pcap.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { CaptureError } from '../types/errors.js';
import { isKnownLink, KNOWN_LINKS } from './link.js';

export interface CapturedPacket {
  /** From 1. */
  readonly number: number;
  /** LINKTYPE of the file (www.tcpdump.org/linktypes.html). */
  readonly linkType: number;
  /** From the link's header on; valid until the next packet is read. */
  readonly bytes: Uint8Array;
  /** Bytes that it had on the wire, at least `bytes.length`. */
  readonly wireLength: number;
}

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
/** What libpcap itself takes at most (MAXIMUM_SNAPLEN); more is a damaged file. */
const MOST_BYTES = 262_144;
const MAGICS = [0xa1b2c3d4, 0xa1b23c4d];
/** First bytes of other files that people have, and what makes a pcap file of them. */
const OTHER_KINDS: readonly { readonly magic: number; readonly mask?: number; readonly hint: string }[] = [
  { magic: 0x0a0d0d0a, hint: 'this is pcapng; convert it with: tcpdump -r FILE -w FILE.pcap' },
  // Kuznetzov's records are longer than those of pcap.
  { magic: 0xa1b2cd34, hint: 'this is modified pcap; convert it with: tcpdump -r FILE -w FILE.pcap' },
  { magic: 0x34cdb2a1, hint: 'this is modified pcap; convert it with: tcpdump -r FILE -w FILE.pcap' },
  // RFC 1952, section 2.3.1.
  {
    magic: 0x1f8b0000,
    mask: 0xffff0000,
    hint: 'this is compressed; pipe it: zcat FILE | magmark replay ... /dev/stdin',
  },
];

/**
 * The packets of `file`.
 * @throws CaptureError that names the file and the byte, after the packets before it
 */
export function* readPcap(file: string): Generator<CapturedPacket> {
  const input = new Input(file);
  try {
    const header = input.read(FILE_HEADER_BYTES);
    if (header === null)
      throw new CaptureError(`${file}: shorter than the ${FILE_HEADER_BYTES} bytes of a pcap header`);
    const littleEndian = byteOrder(header, file);
    const linkType = header.getUint32(20, littleEndian) & 0xffff;
    if (!isKnownLink(linkType))
      throw new CaptureError(`${file}: link type ${linkType} is not known: ${KNOWN_LINKS} are`);
    for (let number = 1; ; number++) {
      const at = input.position;
      const record = input.read(RECORD_HEADER_BYTES);
      if (record === null) {
        if (input.position === at && input.atEnd) return;
        throw new CaptureError(`${file}: packet ${number} is cut off in its header at byte ${at}`);
      }
      const length = record.getUint32(8, littleEndian);
      const wireLength = record.getUint32(12, littleEndian);
      if (length > MOST_BYTES) {
        throw new CaptureError(
          `${file}: packet ${number} at byte ${at} claims ${length} bytes; ${MOST_BYTES} are possible`,
        );
      }
      const bytes = input.read(length);
      if (bytes === null)
        throw new CaptureError(
          `${file}: packet ${number} is cut off: its ${length} bytes begin at byte ${at + RECORD_HEADER_BYTES}`,
        );
      yield {
        number,
        linkType,
        bytes: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        wireLength: Math.max(wireLength, length),
      };
    }
  } finally {
    input.close();
  }
}

/** Whether the file's numbers are little-endian. */
function byteOrder(header: DataView, file: string): boolean {
  for (const littleEndian of [true, false]) {
    if (MAGICS.includes(header.getUint32(0, littleEndian))) return littleEndian;
  }
  const begin = header.getUint32(0);
  const kind = OTHER_KINDS.find(({ magic, mask = 0xffffffff }) => (begin & mask) >>> 0 === magic);
  const hint = kind?.hint ?? `it begins with 0x${begin.toString(16).padStart(8, '0')}`;
  throw new CaptureError(`${file}: not a pcap file: ${hint}`);
}

/** A file, read in large pieces. */
class Input {
  /** Offset of the next byte that `read` gives. */
  position = 0;
  atEnd = false;
  private readonly descriptor: number;
  private buffer = Buffer.alloc(MOST_BYTES * 4);
  private start = 0;
  private end = 0;

  constructor(private readonly file: string) {
    try {
      this.descriptor = openSync(file, 'r');
    } catch (error) {
      const hint = file === '-' ? '; standard input is /dev/stdin' : '';
      throw new CaptureError(`${file}: cannot be read: ${(error as Error).message}${hint}`);
    }
  }

  /** The next `length` bytes, valid until the next call; null if the file ends before. */
  read(length: number): DataView | null {
    if (this.end - this.start < length) this.fill(length);
    if (this.end - this.start < length) {
      this.position += this.end - this.start;
      return null;
    }
    const view = new DataView(this.buffer.buffer, this.buffer.byteOffset + this.start, length);
    this.start += length;
    this.position += length;
    return view;
  }

  close(): void {
    closeSync(this.descriptor);
  }

  private fill(length: number): void {
    this.buffer.copyWithin(0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    while (this.end < length && !this.atEnd) {
      let bytes: number;
      try {
        bytes = readSync(this.descriptor, this.buffer, this.end, this.buffer.length - this.end, null);
      } catch (error) {
        throw new CaptureError(`${this.file}: cannot be read: ${(error as Error).message}`);
      }
      this.end += bytes;
      this.atEnd = bytes === 0;
    }
  }
}
