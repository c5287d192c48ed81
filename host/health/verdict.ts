/** What follows from the checks of one target: rise and fall. */
import type { HealthCheck } from '../types/config.js';

export interface TargetHealth {
  /** `unknown`: it has not been found healthy or unhealthy yet, and takes no traffic. */
  readonly health: 'unknown' | 'healthy' | 'unhealthy';
  /** The last failure: what was attempted, with which value, and the answer. null once it is forgotten, see `judge`. */
  readonly reason: string | null;
  /** When `health` became what it is, in milliseconds since 1970. */
  readonly since: number;
  /** Checks in a row that were answered, up to the last one; one of these two numbers is 0. */
  readonly answers: number;
  readonly failures: number;
}

export function unknownHealth(now: number): TargetHealth {
  return { health: 'unknown', reason: null, since: now, answers: 0, failures: 0 };
}

/**
 * `rise` answers in a row make a target healthy, `fall` failures in a row unhealthy. The first check of all suffices if
 * it is answered: a start is not delayed by rise x interval. A healthy target's next answer makes its last failure
 * forgotten.
 * @param failure  null: answered
 */
export function judge(
  before: TargetHealth,
  failure: string | null,
  { rise, fall }: Pick<HealthCheck, 'rise' | 'fall'>,
  now: number,
): TargetHealth {
  const answers = failure === null ? before.answers + 1 : 0;
  const failures = failure === null ? 0 : before.failures + 1;
  const neverFailed = before.health === 'unknown' && before.reason === null;
  let { health } = before;
  if (answers >= rise || (answers > 0 && neverFailed)) health = 'healthy';
  if (failures >= fall) health = 'unhealthy';
  const forgotten = failure === null && health === 'healthy';
  return {
    health,
    reason: forgotten ? null : (failure ?? before.reason),
    since: health === before.health ? before.since : now,
    answers,
    failures,
  };
}
