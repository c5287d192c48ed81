/** The first packet of a TCP connection, for asking the core what it would do with it. */
import ipaddr from 'ipaddr.js';
import type { Family } from '../../host/types/config.js';

export interface Connection {
  readonly family: Family;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

const TCP = 6;
const TCP_BYTES = 20;

/** IP header and TCP header of its SYN, without checksums: the core does not look at them (RFC 791, 8200, 9293). */
export function synPacket(connection: Connection): Uint8Array {
  const addresses = [connection.source, connection.destination].map(text => ipaddr.parse(text).toByteArray());
  const headerBytes = connection.family === 4 ? 20 : 40;
  const packet = new Uint8Array(headerBytes + TCP_BYTES);
  const view = new DataView(packet.buffer);
  if (connection.family === 4) {
    view.setUint8(0, 0x45);
    view.setUint16(2, packet.length);
    view.setUint8(8, 64);
    view.setUint8(9, TCP);
  } else {
    view.setUint8(0, 0x60);
    view.setUint16(4, TCP_BYTES);
    view.setUint8(6, TCP);
    view.setUint8(7, 64);
  }
  packet.set(addresses.flat(), connection.family === 4 ? 12 : 8);
  view.setUint16(headerBytes, connection.sourcePort);
  view.setUint16(headerBytes + 2, connection.destinationPort);
  view.setUint8(headerBytes + 12, (TCP_BYTES / 4) << 4);
  view.setUint8(headerBytes + 13, 0x02);
  return packet;
}
