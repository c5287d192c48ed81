/** `magmark capture`: packets with their decisions, for Wireshark and tshark. */

import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { pcapngBegin, pcapngEnd, pcapngPacket } from '../capture/pcapng-writer.js';
import { CaptureError, ControlError } from '../types/errors.js';
import { printable, printableLines } from '../types/text.js';
import type { TracedPacket } from '../types/trace.js';
import { version } from '../version.js';
import { type TraceChoice, traceStream } from './trace-stream.js';

export interface CaptureOptions extends TraceChoice {
  /** `-`: standard output. */
  readonly write: string;
  readonly snaplen: string;
  /** What came of it, on standard output. */
  readonly json?: boolean;
}

const STDOUT = 1;

/** @throws ControlError, CaptureError; what came before stands in the file, which is whole */
export async function capture(options: CaptureOptions): Promise<void> {
  const snapLength = Number(options.snaplen);
  // The daemon refuses what is out of its range; this is for what is no number at all.
  if (!/^[1-9][0-9]{0,5}$/.test(options.snaplen))
    throw new CaptureError(`--snaplen ${options.snaplen} is not a number of bytes`);
  if (options.json && options.write === '-')
    throw new CaptureError('--json and -w -: standard output is either the packets or what came of them');
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
        process.stderr.write(`magmark: capturing to ${printable(options.write)}; Ctrl-C ends it\n`);
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
  if (options.json)
    process.stdout.write(
      printableLines(`${JSON.stringify({ file: options.write, packets: written, lost }, null, 2)}\n`),
    );
}

/** The decision as `key=value`; `-` where there is none. */
export function commentOf(packet: TracedPacket): string {
  const { flow, stream, identifier, fwmark, reason, fragment } = packet;
  const decision = `flow=${flow ?? '-'} stream=${stream ?? '-'} target=${identifier ?? '-'} mark=${fwmark ?? '-'} reason=${reason}`;
  return fragment === null ? decision : `${decision} fragment=${fragment}`;
}

/** A file that is made when the first bytes come: none is left where the daemon refused. It holds whole blocks alone. */
class Sink {
  private descriptor: number | null = null;
  private wholeBytes = 0;

  constructor(private readonly path: string) {}

  /** @throws CaptureError; what of the block was written is taken back, but from standard output */
  write(block: Uint8Array): void {
    try {
      this.descriptor ??= this.path === '-' ? STDOUT : openSync(this.path, 'w', 0o600);
      for (let at = 0; at < block.length; ) at += writeSync(this.descriptor, block, at);
      this.wholeBytes += block.length;
    } catch (error) {
      this.takeBack();
      throw new CaptureError(`${this.path}: cannot be written: ${(error as Error).message}`);
    }
  }

  close(): void {
    if (this.descriptor !== null && this.descriptor !== STDOUT) closeSync(this.descriptor);
  }

  /** A full disk takes a part of a block; readers complain of a file that ends so. */
  private takeBack(): void {
    // A pipe or a device takes nothing back, and holds no file that could be read later.
    if (this.descriptor === null || !fstatSync(this.descriptor).isFile()) return;
    if (this.descriptor !== STDOUT) ftruncateSync(this.descriptor, this.wholeBytes);
  }
}
