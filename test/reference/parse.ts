/**
 * From bytes to the 40-byte key, in the plainest words (RFC 791, 792, 4302, 4443, 6946, 8200): exists to be compared with
 * the core. Of the packet inside an error nothing is asked but the bytes that decide. Offsets count from the first byte of the outer IP header; addresses are 128-bit numbers, IPv4 as ::ffff:a.b.c.d.
 */

/** Reasons of packets that no flow is asked for. */
export type Refusal = 'not-ip' | 'truncated' | 'bad-header' | 'headers-too-deep' | 'fragment-without-first';

export interface Key {
  readonly source: bigint;
  readonly destination: bigint;
  /** Bytes of an echo request's identifier, in wire order; else zeros. */
  readonly echoId: readonly [number, number];
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface Parsed {
  readonly key: Key;
  /** The key is that of the packet inside an error, swapped. */
  readonly inner: boolean;
  /** Offset of the transport header that decides. */
  readonly transport: number;
  readonly bytes: Bytes;
}

export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;
const READ_BYTES = 512;
const WIRE_BYTES = 2 ** 24;
const EXTENSION_HEADERS = 16;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
/** Hop-by-hop, routing, destination options, mobility, HIP, shim6: length in words of 8 bytes, less one. */
const OPTION_HEADERS = [0, 43, 60, 135, 139, 140];
const ERRORS = { 4: [3, 4, 5, 11, 12], 6: [1, 2, 3, 4] } as const;
const ICMP = { 4: 1, 6: 58 } as const;
const ECHO_REQUEST = { 4: 8, 6: 128 } as const;

class Refused {
  constructor(readonly reason: Refusal) {}
}

/** The part of a packet that may be read. */
export class Bytes {
  private readonly view: DataView;
  /** Behind the last byte that is there. */
  end: number;

  constructor(
    packet: Uint8Array,
    /** Behind the last byte on the wire. */
    public wireEnd: number,
  ) {
    this.view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    this.end = Math.min(packet.length, READ_BYTES);
    this.wireEnd = Math.max(Math.min(wireEnd, WIRE_BYTES), this.end);
  }

  /** Refuses unless `length` bytes at `at` are there. */
  need(at: number, length: number): void {
    const why = this.lack(at, length);
    if (why !== null) throw new Refused(why);
  }

  /** Why `length` bytes at `at` may not be read, or null. */
  lack(at: number, length: number): 'headers-too-deep' | 'truncated' | null {
    if (at + length <= this.end) return null;
    return this.hasOnWire(at, length) && at + length > READ_BYTES ? 'headers-too-deep' : 'truncated';
  }

  hasOnWire(at: number, length: number): boolean {
    return at + length <= this.wireEnd;
  }

  u8(at: number): number {
    this.need(at, 1);
    return this.view.getUint8(at);
  }

  u16(at: number): number {
    this.need(at, 2);
    return this.view.getUint16(at);
  }

  /** `length` bytes as one number. */
  number(at: number, length: number): bigint {
    this.need(at, length);
    let value = 0n;
    for (let n = 0; n < length; n++) value = (value << 8n) | BigInt(this.view.getUint8(at + n));
    return value;
  }

  /** What follows `end` is padding. */
  statedEnd(end: number): void {
    if (end > this.wireEnd) throw new Refused('truncated');
    this.wireEnd = end;
    this.end = Math.min(this.end, end);
  }
}

export function parse(packet: Uint8Array, wireLength = packet.length): Parsed | Refusal {
  try {
    const bytes = new Bytes(packet, wireLength);
    if (packet.length === 0) return 'truncated';
    const version = bytes.u8(0) >> 4;
    if (version !== 4 && version !== 6) return 'not-ip';
    return parseIp(bytes, 0, version, false);
  } catch (refused) {
    if (refused instanceof Refused) return refused.reason;
    throw refused;
  }
}

/** The ports at `at`, swapped in a packet inside an error. */
export function parsePorts(bytes: Bytes, at: number, inner: boolean): [number, number] | Refusal {
  try {
    bytes.need(at, 4);
    const ports: [number, number] = [bytes.u16(at), bytes.u16(at + 2)];
    return inner ? [ports[1], ports[0]] : ports;
  } catch (refused) {
    if (refused instanceof Refused) return refused.reason;
    throw refused;
  }
}

function parseIp(bytes: Bytes, at: number, version: 4 | 6, inner: boolean): Parsed {
  const { transport, protocol } = version === 4 ? skipIpv4(bytes, at, inner) : skipIpv6(bytes, at, inner);
  const address = (offset: number) =>
    version === 4 ? 0xffff00000000n | bytes.number(offset, 4) : bytes.number(offset, 16);
  const from = address(at + (version === 4 ? 12 : 8));
  const to = address(at + (version === 4 ? 16 : 24));
  const key = {
    source: inner ? to : from,
    destination: inner ? from : to,
    echoId: [0, 0] as const,
    protocol,
    sourcePort: 0,
    destinationPort: 0,
  };
  const parsed = { key, inner, transport, bytes };

  if (protocol === TCP || protocol === UDP || protocol === SCTP) {
    const ports = parsePorts(bytes, transport, inner);
    if (typeof ports === 'string') throw new Refused(ports);
    return { ...parsed, key: { ...key, sourcePort: ports[0], destinationPort: ports[1] } };
  }
  if (protocol !== ICMP[version] || inner) return parsed;

  const type = bytes.u8(transport);
  if ((ERRORS[version] as readonly number[]).includes(type)) {
    return parseIp(bytes, transport + 8, version, true);
  }
  if (type !== ECHO_REQUEST[version]) return parsed;
  return {
    ...parsed,
    key: { ...key, echoId: [bytes.u8(transport + 4), bytes.u8(transport + 5)] },
  };
}

function skipIpv4(bytes: Bytes, at: number, inner: boolean): { transport: number; protocol: number } {
  bytes.need(at, 20);
  const headerLength = (bytes.u8(at) & 15) * 4;
  if (headerLength < 20) throw new Refused('bad-header');
  if (!inner) {
    const onWire = bytes.wireEnd - at;
    const stated = bytes.u16(at + 2);
    const totalLength = stated === 0 && onWire > 65_535 ? onWire : stated;
    if (totalLength < headerLength) throw new Refused('bad-header');
    bytes.statedEnd(at + totalLength);
    bytes.need(at, headerLength);
  }
  if ((bytes.u16(at + 6) & 0x1fff) !== 0) throw new Refused('fragment-without-first');
  return { transport: at + headerLength, protocol: bytes.u8(at + 9) };
}

function skipIpv6(bytes: Bytes, at: number, inner: boolean): { transport: number; protocol: number } {
  bytes.need(at, 40);
  if (!inner) {
    const onWire = bytes.wireEnd - at - 40;
    const stated = bytes.u16(at + 4);
    bytes.statedEnd(at + 40 + (stated === 0 && onWire > 65_535 ? onWire : stated));
  }

  let protocol = bytes.u8(at + 6);
  let transport = at + 40;
  for (let headers = 0; ; headers++) {
    if (protocol !== FRAGMENT && protocol !== AUTHENTICATION && !OPTION_HEADERS.includes(protocol))
      return { transport, protocol };
    if (headers === EXTENSION_HEADERS) throw new Refused('headers-too-deep');
    const words = bytes.u16(transport) & 0xff;
    let length = (words + 1) * 8;
    if (protocol === AUTHENTICATION) length = (words + 2) * 4;
    if (protocol === FRAGMENT) length = 8;
    if (!inner || protocol === FRAGMENT) bytes.need(transport, length);
    if (protocol === FRAGMENT && bytes.u16(transport + 2) >> 3 !== 0)
      throw new Refused('fragment-without-first');
    protocol = bytes.u8(transport);
    transport += length;
  }
}
