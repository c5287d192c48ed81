/** The hash of a packet's key for `nfqlb fwmark`, without the core: a command starts fast. A test holds it to nfqlb's vectors. */

/** What a packet is told by. */
export interface FiveTuple {
  /** 16 bytes each; IPv4 as ::ffff:a.b.c.d. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** IP protocol number. */
  readonly protocol: number;
  /** Host order. */
  readonly sourcePort: number;
  readonly destinationPort: number;
}

const SCTP = 132;

/** djb2 over nfqlb's 40-byte key; with `sctpPorts` over the ports alone for SCTP. u32 */
export function hashOf(tuple: FiveTuple, sctpPorts: boolean): number {
  const key = new Uint8Array(40);
  const view = new DataView(key.buffer);
  key.set(tuple.source, 0);
  key.set(tuple.destination, 16);
  view.setUint16(34, tuple.protocol, true);
  view.setUint16(36, tuple.sourcePort);
  view.setUint16(38, tuple.destinationPort);
  return djb2(sctpPorts && tuple.protocol === SCTP ? key.subarray(36) : key);
}

/** djb2 over both addresses alone. u32 */
export function hashOfAddresses({ source, destination }: Pick<FiveTuple, 'source' | 'destination'>): number {
  return djb2(Uint8Array.from([...source, ...destination]));
}

function djb2(bytes: Uint8Array): number {
  return bytes.reduce((hash, byte) => (Math.imul(hash, 33) + byte) >>> 0, 5381);
}
