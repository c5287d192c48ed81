/**
 * Reads pcapng.
 * Present: sections in either byte order, any number of interfaces, enhanced, simple and obsolete packet blocks. Passed
 * over: all other blocks, all options. Times are not read.
 * Source: draft-ietf-opsawg-pcapng.
 */
import { CaptureError } from '../types/errors.js';
import { type Input, MOST_BYTES } from './input.js';
import { isKnownLink, KNOWN_LINKS } from './link.js';
import type { CapturedPacket } from './packet.js';

/** Block types (section 4). */
export const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const MAJOR_VERSION = 1;
/** Type and total length, and the total length again at the end. */
const FRAME_BYTES = 12;
const BEGIN_BYTES = 8;

interface Interface {
  readonly linkType: number;
  /** 0: no limit. */
  readonly snapLength: number;
}

/** A packet in its block. */
interface Place {
  readonly from: Interface;
  readonly captured: number;
  readonly original: number;
}

/** The packets of a pcapng file. @throws CaptureError that names the file and the byte, after the packets before it */
export function readPcapng(input: Input): Generator<CapturedPacket> {
  return new Pcapng(input).packets();
}

class Pcapng {
  private littleEndian = true;
  private interfaces: Interface[] = [];
  private packet = 0;
  /** Where the present block begins, and what of its body is not read yet. */
  private at = 0;
  private left = 0;

  constructor(private readonly input: Input) {}

  *packets(): Generator<CapturedPacket> {
    while (true) {
      this.at = this.input.position;
      const begin = this.input.read(BEGIN_BYTES);
      if (begin === null) {
        if (this.input.position === this.at) return;
        throw this.fault('is cut off in its header');
      }
      const first = begin.getUint32(0);
      const length = first === SECTION_HEADER ? this.section(begin) : this.lengthOf(begin);
      const type = first === SECTION_HEADER ? first : begin.getUint32(0, this.littleEndian);
      if (type === INTERFACE_DESCRIPTION) this.describeInterface();
      const place = this.packetPlace(type);
      if (place !== null) yield this.read(place);
      if (!this.input.skip(this.left)) throw this.fault(`is cut off: it has ${length} bytes`);
      const end = this.input.read(4);
      if (end === null) throw this.fault(`is cut off: it has ${length} bytes`);
      const again = end.getUint32(0, this.littleEndian);
      if (again !== length) throw this.fault(`has ${length} bytes by its begin and ${again} by its end`);
    }
  }

  /** A section has its own byte order and its own interfaces (section 4.1). @returns bytes of the block */
  private section(begin: DataView): number {
    // The next read takes the view's bytes away.
    const [little, big] = [begin.getUint32(4, true), begin.getUint32(4, false)];
    this.left = BEGIN_BYTES;
    const head = this.take(BEGIN_BYTES);
    if (head.getUint32(0, true) === BYTE_ORDER_MAGIC) this.littleEndian = true;
    else if (head.getUint32(0) === BYTE_ORDER_MAGIC) this.littleEndian = false;
    else throw this.fault(`has the byte order mark 0x${head.getUint32(0).toString(16).padStart(8, '0')}`);
    const length = this.checked(this.littleEndian ? little : big);
    if (length < FRAME_BYTES + BEGIN_BYTES) throw this.fault(`has ${length} bytes, too few for a section`);
    const version = head.getUint16(4, this.littleEndian);
    if (version !== MAJOR_VERSION) throw this.fault(`is of version ${version}; ${MAJOR_VERSION} is known`);
    this.interfaces = [];
    this.left = length - FRAME_BYTES - BEGIN_BYTES;
    return length;
  }

  private lengthOf(begin: DataView): number {
    const length = this.checked(begin.getUint32(4, this.littleEndian));
    this.left = length - FRAME_BYTES;
    return length;
  }

  private checked(length: number): number {
    if (length < FRAME_BYTES || length % 4 !== 0)
      throw this.fault(`claims ${length} bytes; a multiple of 4 from ${FRAME_BYTES} on is possible`);
    return length;
  }

  /** Section 4.2. */
  private describeInterface(): void {
    const body = this.take(8);
    this.interfaces.push({
      linkType: body.getUint16(0, this.littleEndian),
      snapLength: body.getUint32(4, this.littleEndian),
    });
  }

  /** What a block of this type says before its packet; null: it holds none. */
  private packetPlace(type: number): Place | null {
    if (type === ENHANCED_PACKET || type === OBSOLETE_PACKET) {
      const body = this.take(20);
      const word = (at: number): number => body.getUint32(at, this.littleEndian);
      const number = type === ENHANCED_PACKET ? word(0) : body.getUint16(0, this.littleEndian);
      return { from: this.interfaceOf(number), captured: word(12), original: word(16) };
    }
    if (type !== SIMPLE_PACKET) return null;
    // Section 4.4: of the first interface, and cut to its snap length.
    const original = this.take(4).getUint32(0, this.littleEndian);
    const from = this.interfaceOf(0);
    return { from, captured: Math.min(original, from.snapLength || original), original };
  }

  private interfaceOf(number: number): Interface {
    const found = this.interfaces[number];
    if (found === undefined)
      throw this.fault(
        `holds a packet of interface ${number}; its section describes ${this.interfaces.length} before it`,
      );
    if (!isKnownLink(found.linkType))
      throw this.fault(
        `holds a packet of link type ${found.linkType}, which is not known: ${KNOWN_LINKS} are`,
      );
    return found;
  }

  private read({ from, captured, original }: Place): CapturedPacket {
    if (captured > MOST_BYTES)
      throw this.fault(`claims a packet of ${captured} bytes; ${MOST_BYTES} are possible`);
    if (captured > this.left)
      throw this.fault(`claims a packet of ${captured} bytes; ${this.left} are left in it`);
    const bytes = this.take(captured);
    return {
      number: ++this.packet,
      linkType: from.linkType,
      bytes: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      wireLength: Math.max(original, captured),
    };
  }

  /** The next bytes of the present block, valid until the next call. */
  private take(length: number): DataView {
    if (length > this.left) throw this.fault(`ends ${length - this.left} bytes before what its type needs`);
    const bytes = this.input.read(length);
    if (bytes === null) throw this.fault('is cut off');
    this.left -= length;
    return bytes;
  }

  private fault(what: string): CaptureError {
    return new CaptureError(`${this.input.file}: the block at byte ${this.at} ${what}`);
  }
}
