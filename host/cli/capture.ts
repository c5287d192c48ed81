/** `magmark capture`: packets with their decisions, for Wireshark and tshark. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { pcapngBegin, pcapngEnd, pcapngPacket } from '../capture/pcapng-writer.js';
import { CaptureError, ControlError } from '../types/errors.js';
import type { TracedPacket } from '../types/trace.js';
import { version } from '../version.js';
import { type TraceChoice, traceStream } from './trace-stream.js';

export interface CaptureOptions extends TraceChoice {
  /** `-`: standard output. */
  readonly write: string;
  readonly snaplen: string;
}

const STDOUT = 1;

/** @throws ControlError, CaptureError; what came before stands in the file, which is whole */
export async function capture(options: CaptureOptions): Promise<void> {
  const snapLength = Number(options.snaplen);
  // The daemon refuses what is out of its range; this is for what is no number at all.
  if (!/^[1-9][0-9]{0,5}$/.test(options.snaplen))
    throw new CaptureError(`--snaplen ${options.snaplen} is not a number of bytes`);
  const file = new Sink(options.write);
  let written = 0;
  let lost = 0;
  let fromUs = 0;
  let fault: ControlError | null = null;
  try {
    for await (const line of traceStream(options, snapLength)) {
      if (line.type === 'reader') {
        fromUs = Date.now() * 1000;
        file.write(pcapngBegin(`magmark ${version}`, 'magmark', snapLength));
        process.stderr.write(`magmark: capturing to ${options.write}; Ctrl-C ends it\n`);
      } else if (line.type === 'packet') {
        const { timeUs, length: wireLength, packet = '' } = line;
        const bytes = Buffer.from(packet, 'base64');
        file.write(pcapngPacket({ bytes, wireLength, timeUs, comment: commentOf(line) }));
        written++;
      } else lost = line.lost;
    }
  } catch (error) {
    if (!(error instanceof ControlError) || fromUs === 0) throw error;
    fault = error;
  }
  file.write(pcapngEnd(fromUs, Date.now() * 1000, written, lost));
  file.close();
  process.stderr.write(`magmark: ${written} packets written, ${lost} lost\n`);
  if (fault !== null) throw fault;
}

/** The decision as `key=value`; `-` where there is none. */
export function commentOf(packet: TracedPacket): string {
  const { flow, stream, identifier, fwmark, reason, fragment } = packet;
  const decision = `flow=${flow ?? '-'} stream=${stream ?? '-'} target=${identifier ?? '-'} mark=${fwmark ?? '-'} reason=${reason}`;
  return fragment === null ? decision : `${decision} fragment=${fragment}`;
}

/** A file that is made when the first bytes come: none is left where the daemon refused. */
class Sink {
  private descriptor: number | null = null;

  constructor(private readonly path: string) {}

  write(bytes: Uint8Array): void {
    try {
      this.descriptor ??= this.path === '-' ? STDOUT : openSync(this.path, 'w', 0o600);
      for (let at = 0; at < bytes.length; ) at += writeSync(this.descriptor, bytes, at);
    } catch (error) {
      throw new CaptureError(`${this.path}: cannot be written: ${(error as Error).message}`);
    }
  }

  close(): void {
    if (this.descriptor !== null && this.descriptor !== STDOUT) closeSync(this.descriptor);
  }
}
