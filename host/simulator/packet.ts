/** A packet for the core that has the given five-tuple: the least that such a packet holds (RFC 791, 8200, 9293, 768, 9260). */
import { addressNumber } from '../types/address.js';
import type { Family } from '../types/config.js';
import type { FiveTuple } from '../types/five-tuple.js';

const NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const ICMP: Readonly<Record<Family, number>> = { 4: 1, 6: 58 };
const ECHO_REQUEST: Readonly<Record<Family, number>> = { 4: 8, 6: 128 };
const TRANSPORT_BYTES = { tcp: 20, udp: 8, sctp: 12, icmp: 8 } as const;
const SYN = 0x02;

/** @returns bytes from the IP header on, without checksums: the core does not look at them. TCP is a SYN. */
export function packetOf(tuple: FiveTuple): Uint8Array {
  const { family, protocol, sourcePort, destinationPort } = tuple;
  const header = family === 4 ? 20 : 40;
  const packet = new Uint8Array(header + TRANSPORT_BYTES[protocol]);
  const view = new DataView(packet.buffer);
  const number = protocol === 'icmp' ? ICMP[family] : NUMBERS[protocol];
  if (family === 4) {
    view.setUint8(0, 0x45);
    view.setUint16(2, packet.length);
    view.setUint8(8, 64);
    view.setUint8(9, number);
    packet.set(bytesOf(tuple.source, 4), 12);
    packet.set(bytesOf(tuple.destination, 4), 16);
  } else {
    view.setUint8(0, 0x60);
    view.setUint16(4, packet.length - header);
    view.setUint8(6, number);
    view.setUint8(7, 64);
    packet.set(bytesOf(tuple.source, 16), 8);
    packet.set(bytesOf(tuple.destination, 16), 24);
  }
  if (protocol === 'icmp') {
    view.setUint8(header, ECHO_REQUEST[family]);
    return packet;
  }
  view.setUint16(header, sourcePort);
  view.setUint16(header + 2, destinationPort);
  if (protocol === 'tcp') {
    view.setUint8(header + 12, (TRANSPORT_BYTES.tcp / 4) << 4);
    view.setUint8(header + 13, SYN);
  }
  if (protocol === 'udp') view.setUint16(header + 4, TRANSPORT_BYTES.udp);
  return packet;
}

function bytesOf(address: string, count: number): Uint8Array {
  const number = addressNumber(address);
  return Uint8Array.from({ length: count }, (_, index) =>
    Number((number >> BigInt(8 * (count - 1 - index))) & 0xffn),
  );
}
