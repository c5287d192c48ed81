/** Whether the daemon is alive, or ready for packets, condition by condition. */

export interface Condition {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, in words. */
  readonly detail: string;
}

export interface Judgement {
  /** All of them hold. */
  readonly ok: boolean;
  readonly conditions: readonly Condition[];
}

export function judgementOf(conditions: readonly Condition[]): Judgement {
  return { ok: conditions.every(({ ok }) => ok), conditions };
}
