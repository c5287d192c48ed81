/** What `nfqlb trace` prints for a packet that matches a trace flow. */
import type { TracedPacket } from '../types/trace.js';

/** The mark that nfqlb prints for a packet that is dropped. */
const NO_MARK = -1;

/**
 * Three lines; the first is left out where the reader has no trace flows.
 * @param shm nfqlb's name of a stream; `-` stands where no flow matched
 */
export function nfqlbTraceText(packet: TracedPacket, shm: (stream: string) => string): string {
  const { traceFlow, protocol, length, source, sourcePort, destination, destinationPort } = packet;
  const target = packet.stream === null ? '-' : shm(packet.stream);
  return [
    ...(traceFlow === null ? [] : [`Match for trace-flow: ${traceFlow}`]),
    `proto=${protocol}, len=${length}, ${mapped(source)} ${sourcePort} -> ${mapped(destination)} ${destinationPort}`,
    `target=${target}, fwmark=${packet.fwmark ?? NO_MARK}`,
    '',
  ].join('\n');
}

/** nfqlb knows IPv4 addresses as IPv6 ones alone. */
function mapped(address: string): string {
  return address.includes(':') ? address : `::ffff:${address}`;
}
