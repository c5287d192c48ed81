/** Many small records in few pieces of the arena: its bookkeeping is by the piece. */

/** Pieces are at least this long; what is left of one when the next begins is lost. */
const PIECE_BYTES = 256 * 1024;

export class Slab {
  private at = 0;
  private end = 0;
  /** Bytes handed out. */
  used = 0;

  /** @param allocate gives the address of so many bytes, aligned to 16; what it throws, `place` throws */
  constructor(private readonly allocate: (bytes: number) => number) {}

  /** Address of `bytes` bytes with whatever they held before. @param alignment a power of 2 */
  place(bytes: number, alignment: number): number {
    let address = roundUp(this.at, alignment);
    if (address + bytes > this.end) {
      const piece = Math.max(PIECE_BYTES, bytes + alignment);
      this.at = this.allocate(piece);
      this.end = this.at + piece;
      address = roundUp(this.at, alignment);
    }
    this.at = address + bytes;
    this.used += bytes;
    return address;
  }
}

function roundUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
