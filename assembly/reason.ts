/**
 * Why a packet was decided as it was: a closed list. The numbers are stable, new reasons go to the end.
 * The host derives its names for them from these (`HeadersTooDeep` reads `headers-too-deep`), so nothing is typed twice.
 */
export const enum Reason {
  /** A flow matched and its stream has an active target: accepted with the target's mark. */
  Ok = 0,
  /** No flow matched. */
  NoFlow = 1,
  /** A flow matched, its stream has no active target. */
  NoTarget = 2,
  /** The first four bits are neither 4 nor 6. */
  NotIp = 3,
  /** The packet ends, or is said to end, before a field that decides. */
  Truncated = 4,
  /** A header contradicts itself: IHL below 5, total length below the header's, or an error that carries another IP version. */
  BadHeader = 5,
  /** A field that decides lies behind the first `Limit.ReadBytes` bytes, or behind `Limit.ExtensionHeaders` headers. */
  HeadersTooDeep = 6,
  /** A later fragment whose first did not come: its ports travelled there. */
  FragmentWithoutFirst = 7,
  /** `populate` was asked for a table size that is not a prime of at least 3. Never a packet's reason. */
  NotPrime = 8,
  /** How many reasons there are. */
  Count = 9,
}
