/** A file, read in large pieces: what is read of it at once has a bound, whatever the file says. */
import { closeSync, openSync, readSync } from 'node:fs';
import { CaptureError } from '../types/errors.js';

/** What libpcap itself takes at most of one packet (MAXIMUM_SNAPLEN); more is a damaged file. */
export const MOST_BYTES = 262_144;

export class Input {
  /** Offset of the next byte that `read` gives. */
  position = 0;
  atEnd = false;
  private readonly descriptor: number;
  private buffer = Buffer.alloc(MOST_BYTES * 4);
  private start = 0;
  private end = 0;

  constructor(readonly file: string) {
    try {
      this.descriptor = openSync(file, 'r');
    } catch (error) {
      const hint = file === '-' ? '; standard input is /dev/stdin' : '';
      throw new CaptureError(`${file}: cannot be read: ${(error as Error).message}${hint}`);
    }
  }

  /** The next `length` bytes, valid until the next call; null if the file ends before. */
  read(length: number): DataView | null {
    if (this.end - this.start < length) this.fill(length);
    if (this.end - this.start < length) {
      this.position += this.end - this.start;
      return null;
    }
    const view = new DataView(this.buffer.buffer, this.buffer.byteOffset + this.start, length);
    this.start += length;
    this.position += length;
    return view;
  }

  /** The first four bytes as a big-endian number, which are then read all the same; null if the file is shorter. */
  magic(): number | null {
    if (this.end - this.start < 4) this.fill(4);
    return this.end - this.start < 4 ? null : this.buffer.readUInt32BE(this.start);
  }

  /** Pass over `length` bytes. @returns false if the file ends before */
  skip(length: number): boolean {
    for (let left = length; left > 0; ) {
      const piece = Math.min(left, MOST_BYTES);
      if (this.read(piece) === null) return false;
      left -= piece;
    }
    return true;
  }

  close(): void {
    closeSync(this.descriptor);
  }

  private fill(length: number): void {
    this.buffer.copyWithin(0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    while (this.end < length && !this.atEnd) {
      let bytes: number;
      try {
        bytes = readSync(this.descriptor, this.buffer, this.end, this.buffer.length - this.end, null);
      } catch (error) {
        throw new CaptureError(`${this.file}: cannot be read: ${(error as Error).message}`);
      }
      this.end += bytes;
      this.atEnd = bytes === 0;
    }
  }
}
