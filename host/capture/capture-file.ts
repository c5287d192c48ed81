/** Capture files of either kind, one packet after the other, in memory that does not grow with the file. */
import { Input } from './input.js';
import type { CapturedPacket } from './packet.js';
import { readPcap } from './pcap.js';
import { readPcapng, SECTION_HEADER } from './pcapng.js';

/**
 * The packets of `file`.
 * @throws CaptureError that names the file and the byte, after the packets before it
 */
export function* readCapture(file: string): Generator<CapturedPacket> {
  const input = new Input(file);
  try {
    // Its type is a palindrome, so that it tells the kind before the byte order is known.
    yield* input.magic() === SECTION_HEADER ? readPcapng(input) : readPcap(input);
  } finally {
    input.close();
  }
}
