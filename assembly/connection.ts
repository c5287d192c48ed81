/**
 * Connections that must not move: where a slot has another target than before, the worker's own table says which of its
 * connections stay with the former one. Only changed slots are looked up; what fills the table is not here yet, so that
 * every connection is the new target's.
 */
import { CHANGED, Connection, Parsed, WorkerState } from './layout';

/** Connections of one set. */
const WAYS: u32 = 4;

/** The target of a packet whose slot is `slot`, which has CHANGED and is not EMPTY. */
export function settledTarget(state: WorkerState, slot: u16, parsed: Parsed): u16 {
  const target: u16 = slot & ~CHANGED;
  if (state.connections == 0) return target;
  const digest = digestOf(parsed);
  let at = <usize>state.connections + <usize>((<u32>digest & state.connectionMask) * WAYS * <u32>offsetof<Connection>());
  for (let way: u32 = 0; way < WAYS; way++, at += offsetof<Connection>()) {
    const connection = changetype<Connection>(at);
    if (connection.digest == digest) return connection.target;
  }
  return target;
}

/** 64 bits of the key, never 0: djb2 has many keys of one hash, these would be one connection. */
function digestOf(parsed: Parsed): u64 {
  const key = changetype<usize>(parsed);
  let digest: u64 = 0x9e3779b97f4a7c15;
  for (let byte: usize = 0; byte < offsetof<Parsed>('transport'); byte += 8) {
    digest = (digest ^ load<u64>(key + byte)) * 0xff51afd7ed558ccd;
    digest ^= digest >> 32;
  }
  return digest | 0x8000000000000000;
}
