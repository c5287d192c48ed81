/**
 * What a daemon that takes over says to the running one on its control socket, and is answered. Plain types.
 *
 * `POST /v1/handover` begins it, `drain`, `finish` and `give-back` below that path steer it. The running daemon makes no
 * change from the first answer on. Should the connection of `POST /v1/handover` end before `finish`, it goes on by itself.
 */

/** Raised when one side could misunderstand the other; another number is refused. */
export const HANDOVER_PROTOCOL = 1;

/** To `POST /v1/handover`. */
export interface HandoverRequest {
  readonly protocol: number;
  readonly version: string;
  readonly pid: number;
}

/** Lines of the answer to `POST /v1/handover`: first `begun`; `ended` if the running daemon goes on by itself. */
export type HandoverLine<Facts = HandoverFacts> = ({ readonly type: 'begun' } & Facts) | HandoverEnded;

export interface HandoverEnded {
  readonly type: 'ended';
  readonly reason: string;
}

export interface HandoverFacts {
  readonly protocol: number;
  readonly version: string;
  readonly pid: number;
  /** Inode number of its network namespace. */
  readonly namespace: string;
  /** Numbers that it has bound. */
  readonly queues: { readonly first: number; readonly last: number };
  readonly journalPath: string;
}

/** `POST /v1/handover/drain`: the rules lead elsewhere, and the running daemon answers what waits in its queues. */
export interface DrainReply {
  /** No packet waits, and none came for a while. */
  readonly drained: boolean;
  readonly waitedMs: number;
}

/**
 * `POST /v1/handover/finish`: the running daemon lets go of everything; answered with `{}` when its control socket and its
 * lock are free. `POST /v1/handover/give-back`: answered with `{}` when its own rules stand again.
 */
export const HANDOVER_PATH = '/v1/handover';
