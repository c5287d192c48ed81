/** Addresses as the core compares them: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
import type { Family, Prefix } from '../types/config.js';

/** @param host with an address in canonical text, as validation leaves it; its form is not checked again */
export function addressBytes(host: { readonly family: Family; readonly address: string }): Uint8Array {
  if (host.family === 4)
    return Uint8Array.from([
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0xff,
      0xff,
      ...host.address.split('.').map(Number),
    ]);
  const words = (text: string): number[] =>
    text === '' ? [] : text.split(':').map(word => Number.parseInt(word, 16));
  const [head = '', tail] = host.address.split('::');
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const zeros = new Array<number>(8 - before.length - after.length).fill(0);
  return Uint8Array.from([...before, ...zeros, ...after].flatMap(word => [word >> 8, word & 0xff]));
}

/** Prefix length among the 128 bits of the key. */
export function mappedLength(prefix: Prefix): number {
  return prefix.family === 4 ? 96 + prefix.length : prefix.length;
}

/** The 16 mask bytes of a prefix of the key. */
export function maskBytes(prefix: Prefix): Uint8Array {
  const length = mappedLength(prefix);
  return Uint8Array.from(
    { length: 16 },
    (_, index) => (0xff << (8 - Math.min(8, Math.max(0, length - 8 * index)))) & 0xff,
  );
}
