/** `magmark trace`: decisions as they are made. */
import type { TraceLine } from '../control/api.js';
import type { TracedPacket } from '../types/trace.js';
import { Output } from './output.js';
import { type TraceChoice, traceStream } from './trace-stream.js';

/** @throws ControlError */
export async function trace(options: TraceChoice & { readonly json?: boolean }): Promise<void> {
  const output = new Output();
  let lost = 0;
  for await (const line of traceStream(options, 0)) {
    if (line.type === 'reader') continue;
    if (options.json) await output.live(`${JSON.stringify(line)}\n`);
    else if (line.type === 'packet') await output.live(`${packetText(line)}\n`);
    else if (line.lost > lost) await output.live(lostText(line, lost));
    if (line.type !== 'packet') lost = line.lost;
  }
  await output.end();
}

/** One line, for example `16:23:54.123456 tcp 192.0.2.1:1024 > 20.0.0.1:4000 60 bytes, flow f, stream s, target 44, mark 5044`. */
export function packetText(packet: TracedPacket): string {
  const { protocol, source, sourcePort, destination, destinationPort, length, inner, fragment, reason } =
    packet;
  const end = (address: string, port: number): string =>
    port === 0 ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const reasonAndVerdict = [
    ...(reason === 'ok' ? [] : [reason]),
    packet.fwmark === null ? 'dropped' : `mark ${packet.fwmark}`,
  ];
  const parts = [
    `${timeText(packet.timeUs)} ${inner ? 'error about ' : ''}${protocol} ` +
      `${end(source, sourcePort)} > ${end(destination, destinationPort)} ${length} bytes`,
    ...(fragment === null || fragment === 'held' ? [] : [`${fragment} fragment`]),
    ...(packet.flow === null ? [] : [`flow ${packet.flow}`, `stream ${packet.stream}`]),
    ...(packet.identifier === null ? [] : [`target ${packet.identifier}`]),
    ...(fragment === 'held' ? ['fragment held until its first comes'] : reasonAndVerdict),
  ];
  return parts.join(', ');
}

/** Local time of day. */
function timeText(timeUs: number): string {
  const date = new Date(timeUs / 1000);
  const two = (value: number): string => `${value}`.padStart(2, '0');
  const fraction = `${timeUs % 1_000_000}`.padStart(6, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${fraction}`;
}

function lostText({ lost }: Extract<TraceLine, { lost: number }>, before: number): string {
  return `(${lost - before} packets are not shown: this reader was too slow; ${lost} so far)\n`;
}
