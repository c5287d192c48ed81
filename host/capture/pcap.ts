/**
 * Reads the older capture files of libpcap: microseconds or nanoseconds, either byte order. pcapng is in `pcapng.ts`.
 * Source: draft-ietf-opsawg-pcap.
 */
import { CaptureError } from '../types/errors.js';
import { type Input, MOST_BYTES } from './input.js';
import { isKnownLink, KNOWN_LINKS } from './link.js';
import type { CapturedPacket } from './packet.js';

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGICS = [0xa1b2c3d4, 0xa1b23c4d];
/** First bytes of other files that people have, and what makes a pcap file of them. */
const OTHER_KINDS: readonly { readonly magic: number; readonly mask?: number; readonly hint: string }[] = [
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
 * The packets of a pcap file.
 * @throws CaptureError that names the file and the byte, after the packets before it
 */
export function* readPcap(input: Input): Generator<CapturedPacket> {
  const { file } = input;
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
}

/** Whether the file's numbers are little-endian. */
function byteOrder(header: DataView, file: string): boolean {
  for (const littleEndian of [true, false]) {
    if (MAGICS.includes(header.getUint32(0, littleEndian))) return littleEndian;
  }
  const begin = header.getUint32(0);
  const kind = OTHER_KINDS.find(({ magic, mask = 0xffffffff }) => (begin & mask) >>> 0 === magic);
  const hint = kind?.hint ?? `it begins with 0x${begin.toString(16).padStart(8, '0')}`;
  throw new CaptureError(`${file}: neither pcap nor pcapng: ${hint}`);
}
