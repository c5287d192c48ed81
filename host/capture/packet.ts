/** One packet of a capture file. */
export interface CapturedPacket {
  /** From 1. */
  readonly number: number;
  /** LINKTYPE of the file or of the interface (www.tcpdump.org/linktypes.html). */
  readonly linkType: number;
  /** From the link's header on; valid until the next packet is read. */
  readonly bytes: Uint8Array;
  /** Bytes that it had on the wire, at least `bytes.length`. */
  readonly wireLength: number;
}
