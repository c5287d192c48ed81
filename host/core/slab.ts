/** Many small records in few pieces of the arena: its bookkeeping is by the piece. */

/** Each piece is twice as long as the one before, between these; what is left of one when the next begins is lost. */
const LEAST_PIECE_BYTES = 4 * 1024;
const MOST_PIECE_BYTES = 256 * 1024;

export class Slab {
  private at = 0;
  private end = 0;
  private pieceBytes = LEAST_PIECE_BYTES;

  /** @param allocate gives the address of so many bytes, aligned to 16; what it throws, `place` throws */
  constructor(private readonly allocate: (bytes: number) => number) {}

  /** Address of `bytes` bytes with whatever they held before. @param alignment a power of 2 */
  place(bytes: number, alignment: number): number {
    // A long one has a piece of its own: what is left of the present one stays in use.
    if (bytes > this.pieceBytes / 4) return roundUp(this.allocate(bytes + alignment), alignment);
    let address = roundUp(this.at, alignment);
    if (address + bytes > this.end) {
      const piece = this.pieceBytes;
      this.pieceBytes = Math.min(2 * this.pieceBytes, MOST_PIECE_BYTES);
      this.at = this.allocate(piece);
      this.end = this.at + piece;
      address = roundUp(this.at, alignment);
    }
    this.at = address + bytes;
    return address;
  }
}

function roundUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
