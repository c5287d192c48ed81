/**
 * ICMP echo messages as bytes (RFC 792; RFC 4443, section 4):
 *
 * | byte | field      |                                                             |
 * |------|------------|-------------------------------------------------------------|
 * | 0    | type       | request 8, reply 0; over IPv6 128 and 129                   |
 * | 1    | code       | 0                                                           |
 * | 2    | checksum   | RFC 1071; over IPv6 the kernel makes and checks it          |
 * | 4    | identifier | of the socket; the kernel overwrites that of a ping socket  |
 * | 6    | sequence   | of the check                                                |
 * | 8    | data       | a token that only an answer to this very request bears      |
 */
import type { Family } from '../types/config.js';

export const TOKEN_BYTES = 8;
const TOKEN = 8;
const MESSAGE_BYTES = TOKEN + TOKEN_BYTES;
const REQUEST: Readonly<Record<Family, number>> = { 4: 8, 6: 128 };
const REPLY: Readonly<Record<Family, number>> = { 4: 0, 6: 129 };

/** Both numbers u16; `token` has TOKEN_BYTES. */
export function echoRequest(
  family: Family,
  identifier: number,
  sequence: number,
  token: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = REQUEST[family];
  view.setUint16(4, identifier);
  view.setUint16(6, sequence);
  bytes.set(token, TOKEN);
  if (family === 4) view.setUint16(2, checksum(bytes));
  return bytes;
}

export interface EchoReply {
  readonly sequence: number;
  /** A view of the message. */
  readonly token: Uint8Array;
}

/** The reply that `message` is, or null if it is something else or damaged. */
export function readEchoReply(family: Family, message: Uint8Array): EchoReply | null {
  if (message.length !== MESSAGE_BYTES || message[0] !== REPLY[family] || message[1] !== 0) return null;
  // A raw IPv4 socket is handed what the kernel has not checked.
  if (family === 4 && checksum(message) !== 0) return null;
  const sequence = (message[6]! << 8) | message[7]!;
  return { sequence, token: message.subarray(TOKEN) };
}

/** What follows an IPv4 header: empty where there is none, or a damaged one (RFC 791, section 3.1). */
export function withoutIpv4Header(packet: Uint8Array): Uint8Array {
  return packet.subarray(((packet[0] ?? 0) & 15) * 4);
}

/** RFC 1071 over an even number of bytes, in host order; 0 over bytes that hold their right checksum. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
