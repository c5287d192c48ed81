/** Statements about bytes of a transport header, in nfqlb's notation: `tcp[13:1] & 0x02 = 0x02`. */
import type { ByteMatch, Protocol } from '../types/config.js';
import { shown } from '../types/text.js';

const STATEMENT =
  /^(?<protocol>sctp|tcp|udp)\[(?<offset>[0-9]+) *: *(?<width>[124])\]( *& *(?<mask>0x[0-9a-f]+))? *= *(?<value>[0-9]+|0x[0-9a-f]+)$/;

/** Bytes of the fixed headers (RFC 9293, RFC 768, RFC 9260). */
const HEADER_BYTES: Record<Protocol, number> = { tcp: 20, udp: 8, sctp: 12 };

/** As nfqlb prints a statement: decimal places, hexadecimal numbers, no mask where it is 0 or absent. */
export function normalByteMatchText({ text, protocol, offset, width, mask, value }: ByteMatch): string {
  const written = STATEMENT.exec(text)?.groups?.mask;
  const isMasked = written !== undefined && cNumber(written) !== 0;
  return `${protocol}[${offset}:${width}]${isMasked ? `&0x${mask.toString(16)}` : ''}=0x${value.toString(16)}`;
}

/** A number as C reads it: 0x10 is 16, 010 is 8. NaN if it is none. */
function cNumber(text: string): number {
  if (text.startsWith('0x')) return Number.parseInt(text, 16);
  if (!/^0[0-9]+$/.test(text)) return Number(text);
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
}

/** @returns the statement, or the fault as a string */
export function parseByteMatch(text: string): ByteMatch | string {
  const groups = STATEMENT.exec(text)?.groups;
  if (groups === undefined)
    return `${shown(text)} is not of the form PROTOCOL[OFFSET:WIDTH] & 0xMASK = VALUE (width 1, 2 or 4)`;
  const protocol = groups.protocol as Protocol;
  const offset = cNumber(groups.offset!);
  const width = Number(groups.width) as 1 | 2 | 4;
  const mask = groups.mask === undefined ? 0 : cNumber(groups.mask);
  const value = cNumber(groups.value!);
  if (Number.isNaN(offset) || Number.isNaN(value))
    return `${shown(text)} has a number that is not octal although it begins with 0`;
  if (offset + width > HEADER_BYTES[protocol]) {
    return `${shown(text)} reaches beyond the ${HEADER_BYTES[protocol]} bytes of the ${protocol} header`;
  }
  const widest = 2 ** (8 * width) - 1;
  if (value > widest) return `${shown(text)} compares ${width} byte(s) with ${shown(groups.value!)}`;
  if (mask > 0xffffffff) return `${shown(text)} has a mask of more than 32 bits`;
  return { text, protocol, offset, width, mask: mask === 0 ? 0xffffffff : mask, value };
}
