/**
 * djb2 over `length` bytes at `at`: h = 5381, then h = h * 33 + byte, in 32 bits.
 * Source: D. J. Bernstein; the hash that nfqlb takes its slots by.
 */
export function djb2(at: usize, length: u32): u32 {
  let hash: u32 = 5381;
  const end = at + <usize>length;
  for (; at < end; at++) hash = hash * 33 + <u32>load<u8>(at);
  return hash;
}
